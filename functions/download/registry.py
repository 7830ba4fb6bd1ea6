"""An MLflow model registry as a source: which version is meant, and where its artifacts lie.

Three calls of MLflow's REST API (mlflow.org/docs/latest/api_reference/rest-api.html); the artifacts themselves come out
of S3, since MLflow's own server hands them out without ranges, which nothing could be resumed by.
"""

from typing import Final, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from functions.download.buckets import Buckets
from functions.download.http import SourceHttp, read_whole
from functions.download.hub import Listing
from functions.download.plan import RemoteFile
from functions.download.problems import SourceRefused, SourceUnwell
from functions.download.sources import BucketSource, InvalidSource, RegistrySource, bucket

T = TypeVar("T")
# An answer describes one version.
MAX_BYTES: Final = 1024 * 1024
_OK: Final = 200
_READY: Final = "READY"
# Where MLflow's transformers flavour puts the weights and the tokenizer, which engines want beside each other.
_FOLDERS: Final = ("model/", "components/tokenizer/")
_PROXIED: Final = "mlflow-artifacts"


class _Version(msgspec.Struct):
    name: str
    version: str
    status: str = _READY


class _Found(msgspec.Struct):
    model_version: _Version


class _Location(msgspec.Struct):
    artifact_uri: str


class _Error(msgspec.Struct):
    error_code: str = ""
    message: str = ""


class Registry:
    """One MLflow tracking server. url: its address; artifacts: the s3:// address behind its mlflow-artifacts: ones."""

    def __init__(self, url: str, artifacts: str, http: SourceHttp, buckets: Buckets) -> None:
        self._url = url.rstrip("/")
        self._artifacts = artifacts.rstrip("/")
        self._http = http
        self._buckets = buckets

    async def listing(self, source: RegistrySource) -> Listing:
        """The files of the version, pinned to its number. Raises SourceRefused, SourceUnwell."""
        if not self._url:
            raise SourceRefused(
                "source-forbidden", "no MLflow server is known: an operator names it with TORPOR_MLFLOW_URL"
            )
        version = await self._version(source)
        if version.status != _READY:
            raise SourceRefused(
                "version-not-ready", f"version {version.version} of {source.name} is {version.status[:40]}"
            )
        query = {"name": source.name, "version": version.version}
        location = await self._get("model-versions/get-download-uri", query, _Location)
        listing = await self._buckets.listing(place(location.artifact_uri, self._artifacts))
        return rooted(listing, version.version)

    async def _version(self, source: RegistrySource) -> _Version:
        if source.alias:
            query = {"name": source.name, "alias": source.alias}
            return (await self._get("registered-models/alias", query, _Found)).model_version
        query = {"name": source.name, "version": source.version}
        return (await self._get("model-versions/get", query, _Found)).model_version

    async def _get(self, what: str, query: dict[str, str], kind: type[T]) -> T:
        url = f"{self._url}/api/2.0/mlflow/{what}?{urlencode(query)}"
        async with self._http.get(url, {"Accept": "application/json"}) as response:
            body = await read_whole(response, MAX_BYTES)
            if response.status != _OK:
                raise refusal(response.status, body, query["name"])
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise SourceUnwell(f"MLflow's answer cannot be read: {error}") from error


def place(uri: str, artifacts: str) -> BucketSource:
    """Where artifacts lie. artifacts: the s3:// address that stands behind mlflow-artifacts:. Raises SourceRefused."""
    parts = urlsplit(uri)
    if parts.scheme == _PROXIED:
        if not artifacts:
            raise SourceRefused(
                "artifacts-proxied",
                "this MLflow server hands artifacts out itself, without ranges: name the S3 behind it with "
                "TORPOR_MLFLOW_ARTIFACTS",
            )
        uri = f"{artifacts}/{parts.path.strip('/')}"
    if not uri.startswith("s3://"):
        raise SourceRefused("artifacts-elsewhere", f"the artifacts lie at {uri[:120]!a}; only S3 is read")
    try:
        return bucket(uri.removeprefix("s3://"))
    except InvalidSource as error:
        raise SourceRefused("artifacts-elsewhere", f"the artifacts lie at {uri[:120]!a}: {error}") from error


def rooted(listing: Listing, version: str) -> Listing:
    """The listing with weights and tokenizer at the root, where they lie in MLflow's folders; weights go first."""
    renamed: dict[str, str] = {}
    for folder in _FOLDERS:
        for file in listing.files:
            if file.path.startswith(folder):
                renamed.setdefault(file.path.removeprefix(folder), file.path)
    for file in listing.files:
        if not file.path.startswith(_FOLDERS):
            renamed.setdefault(file.path, file.path)
    sizes = {file.path: file.size for file in listing.files}
    files = [RemoteFile(path, sizes[old]) for path, old in renamed.items()]
    urls = {path: listing.urls[old] for path, old in renamed.items()}
    return Listing(version, files, urls, {path: listing.etags[old] for path, old in renamed.items()})


def refusal(status: int, body: bytes, name: str) -> SourceRefused:
    """What a status of MLflow means, with its own words."""
    try:
        error = msgspec.json.decode(body, type=_Error)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        error = _Error()
    words = ascii(error.message)[1:300]
    if status in {401, 403}:
        return SourceRefused("source-forbidden", f"MLflow refuses access to {name}: check TORPOR_MLFLOW_TOKEN")
    if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
        return SourceRefused("version-not-found", f"MLflow has no such version of {name}: {words}")
    return SourceRefused("source-refused", f"MLflow answered {status} for {name}: {words}")
