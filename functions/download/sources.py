"""What a `source` names: pure parsing of `hf://owner/name[@revision][/path]`, `https://host/file` catalogues, buckets, and more.

Called by the routes, which answer 422 for what it refuses, and again by the plan.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from functions.download import names
from functions.kit import addresses

# Repository names as the hub allows them: 96 characters of these, no leading dot or dash (huggingface_hub validates so).
_SEGMENT: Final = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,95}$")
_REVISION: Final = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}$")
# What a model's own name may not hold, and how long it may be (see requests.Name).
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_LENGTH: Final = 96
# MLflow counts versions from 1.
_VERSION: Final = re.compile(r"^[1-9][0-9]{0,8}$")
# Names of buckets as S3 allows them.
_BUCKET: Final = re.compile(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
# One file is a model only in these formats: both carry their tensors' sizes, neither can carry code.
WEB_SUFFIXES: Final = (".safetensors", ".gguf")
MAX_SOURCE: Final = 2048
# What stands before the address of a quant service.
CATALOGUE: Final = "quant+"


class InvalidSource(ValueError):
    """The text is no source; the message says what one looks like."""


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository of the hub, at a branch, tag or commit; path picks one file."""

    owner: str
    name: str
    revision: str = "main"
    path: str = ""

    @property
    def repository(self) -> str:
        """`owner/name`: the hub's name of the model."""
        return f"{self.owner}/{self.name}"

    @property
    def model_name(self) -> str:
        """What the model is called when nobody says otherwise."""
        return self.name


@dataclass(frozen=True, slots=True)
class WebSource:
    """One file at an address."""

    url: str
    host: str
    scheme: str
    file_name: str

    @property
    def model_name(self) -> str:
        """The file's name without its suffix."""
        return _stem(PurePosixPath(self.file_name))


@dataclass(frozen=True, slots=True)
class CatalogueSource:
    """A quant service: an address that answers a list of one model's quantised variants."""

    url: str
    host: str
    scheme: str

    @property
    def model_name(self) -> str:
        """The last part of the address that can be a name; the host's for an address without any."""
        parts = [self.host, *unquote(urlsplit(self.url).path).split("/")]
        return next(stem for part in reversed(parts) if _SEGMENT.match(stem := part.removesuffix(".json")))


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A folder of the machine that runs the function, or one file in it."""

    path: str

    @property
    def model_name(self) -> str:
        """The last part of the path, without the suffix of weights."""
        return _stem(PurePosixPath(self.path))


@dataclass(frozen=True, slots=True)
class BucketSource:
    """A prefix of an S3 bucket, or one object."""

    bucket: str
    prefix: str

    @property
    def model_name(self) -> str:
        """The last part of the prefix, without the suffix of weights."""
        return _stem(PurePosixPath(self.prefix or self.bucket))


@dataclass(frozen=True, slots=True)
class RegistrySource:
    """A version of a model in an MLflow registry, by its alias or its number."""

    name: str
    alias: str = ""
    version: str = ""

    @property
    def model_name(self) -> str:
        """The name that it is registered under."""
        return self.name


Source = HubSource | WebSource | CatalogueSource | FolderSource | BucketSource | RegistrySource


def parse(text: str) -> Source:
    """Read a source. Raises InvalidSource."""
    if len(text) > MAX_SOURCE or not text.isprintable() or " " in text:
        raise InvalidSource(f"a source has up to {MAX_SOURCE} printable characters and no spaces")
    scheme, separator, rest = text.partition("://")
    match scheme if separator else "":
        case "hf":
            return _hub(rest)
        case "https" | "http":
            return _web(text)
        case "quant+https" | "quant+http":
            return _catalogue(text.removeprefix(CATALOGUE))
        case "s3":
            return bucket(rest)
        case "mlflow":
            return _registry(rest)
        case "file":
            return _folder(rest)
        case _:
            raise InvalidSource(
                "a source is hf://owner/name[@revision][/path], https://host/file.safetensors, "
                "quant+https://host/catalogue, s3://bucket/prefix, mlflow://name@alias or, on a laptop, file:///path"
            )


def _hub(rest: str) -> HubSource:
    owner, _, after = rest.partition("/")
    name, _, path = after.partition("/")
    name, at, revision = name.partition("@")
    # A branch with a slash is written with %2F, as huggingface_hub's file system does.
    revision = unquote(revision) if at else "main"
    if not (_SEGMENT.match(owner) and _SEGMENT.match(name)) or ".." in name or "--" in name:
        raise InvalidSource(
            "a hub source is hf://owner/name[@revision][/path], for example hf://HuggingFaceTB/SmolLM2-135M"
        )
    if not _REVISION.match(revision) or ".." in revision:
        raise InvalidSource("the revision is not the name of a branch, a tag or a commit")
    if path:
        _check_name(path)
    return HubSource(owner, name, revision, path)


def _web(text: str) -> WebSource:
    parts = _address(text)
    file_name = unquote(parts.path.rpartition("/")[2])
    if not file_name.endswith(WEB_SUFFIXES):
        raise InvalidSource(f"an https:// source is one file that ends in {' or '.join(WEB_SUFFIXES)}")
    _check_name(file_name)
    return WebSource(text, parts.hostname or "", parts.scheme, file_name)


def _catalogue(text: str) -> CatalogueSource:
    parts = _address(text)
    return CatalogueSource(text, parts.hostname or "", parts.scheme)


def _folder(rest: str) -> FolderSource:
    path = unquote(rest)
    if not path.startswith("/") or "?" in rest or "#" in rest:
        raise InvalidSource("a file:// source is file:///path/of/a/folder on the machine that runs the function")
    _check_name(path.strip("/"))
    return FolderSource(path.rstrip("/"))


def bucket(rest: str) -> BucketSource:
    """Read what stands after s3://. Raises InvalidSource."""
    name, _, prefix = rest.partition("/")
    prefix = prefix.removesuffix("/")
    if not _BUCKET.match(name) or ".." in name:
        raise InvalidSource("an S3 source is s3://bucket/prefix")
    if prefix:
        _check_name(prefix)
    return BucketSource(name, prefix)


def _registry(rest: str) -> RegistrySource:
    name, at, alias = rest.partition("@")
    name, slash, version = (name, "", "") if at else rest.partition("/")
    if not (_SEGMENT.match(name) and (_SEGMENT.match(alias) if at else slash and _VERSION.match(version))):
        raise InvalidSource("an MLflow source is mlflow://name@alias or mlflow://name/version")
    return RegistrySource(name, alias, version)


def _stem(path: PurePosixPath) -> str:
    """The last part of a path as a name that a request could have given: letters, digits, dots, dashes, underscores."""
    name = path.stem if path.suffix in WEB_SUFFIXES else path.name
    return _NO_NAME.sub("-", name).strip("._-")[:_NAME_LENGTH] or "model"


def _address(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise InvalidSource(f"the address cannot be read: {error}") from error
    if not parts.hostname or "@" in parts.netloc or "#" in text:
        raise InvalidSource("an address has a host, no user name or password, and no fragment")
    try:
        addresses.literal(parts.hostname)
    except addresses.NoHost as error:
        raise InvalidSource(f"{ascii(parts.hostname)[:120]} {error}") from error
    return parts


def _check_name(path: str) -> None:
    try:
        names.check(path)
    except names.UnsafeName as error:
        raise InvalidSource(str(error)) from error
