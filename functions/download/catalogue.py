"""A quant service: a JSON list of one model's quantised variants, of which one is taken.

    {"variants": [{"id": 7, "level": "Q4_K_M", "size": 98000000, "sha256": "<64 hex digits>", "url": "model-Q4_K_M.gguf"}]}

An entry is a file; entries with the same id belong together. An address may be relative to the catalogue's.
"""

from collections.abc import Sequence
from typing import Annotated, Final
from urllib.parse import unquote, urljoin, urlsplit

import msgspec

from functions.download.http import SourceHttp, read_whole
from functions.download.hub import Listing
from functions.download.plan import GGUF_LEVEL, RemoteFile
from functions.download.problems import SourceRefused
from functions.download.sources import CatalogueSource
from functions.download.web import refusal

# Ten thousand entries of 400 bytes.
MAX_BYTES: Final = 4 * 1024 * 1024
_OK: Final = 200
# The columns that keep it are an INT and fifty characters.
_Id = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Level = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,49}$")]


class Variant(msgspec.Struct, frozen=True):
    """One file of one variant: size in bytes, sha256 in hex."""

    id: _Id
    level: _Level
    size: Annotated[int, msgspec.Meta(ge=1, le=2**62)]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{64}$")]
    url: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]


class _Catalogue(msgspec.Struct):
    variants: list[Variant]


class Catalogues:
    """Quant services of the web, behind the guard of its SourceHttp."""

    def __init__(self, http: SourceHttp) -> None:
        self._http = http

    async def listing(self, source: CatalogueSource, level: str | None) -> Listing:
        """The files of the variant of that level. Raises SourceRefused, SourceUnwell."""
        async with self._http.get(source.url, {"Accept": "application/json"}) as response:
            if response.status != _OK:
                raise refusal(source.host, response.status)
            body = await read_whole(response, MAX_BYTES)
        listing = list_variant(choose(read(body), level), source.url)
        for url in listing.urls.values():
            self._http.check(url)
        return listing


def read(body: bytes) -> list[Variant]:
    """The entries of a catalogue. Raises SourceRefused: it is what its maker has to mend."""
    try:
        return msgspec.json.decode(body, type=_Catalogue).variants
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SourceRefused("catalogue-invalid", f"the catalogue cannot be read: {error}") from error


def choose(variants: Sequence[Variant], level: str | None) -> list[Variant]:
    """The entries of one variant: the level asked for, else the only one, else the usual level. Raises SourceRefused."""
    levels = {variant.level.upper() for variant in variants}
    wanted = level.upper() if level else levels.copy().pop() if len(levels) == 1 else GGUF_LEVEL
    chosen = [variant for variant in variants if variant.level.upper() == wanted]
    if not chosen:
        offered = ", ".join(sorted(levels))[:400] or "nothing"
        raise SourceRefused(
            "level-not-found", f"the catalogue offers {offered} and not {wanted}: ask for one with quant_level"
        )
    if len({variant.id for variant in chosen}) > 1:
        raise SourceRefused("catalogue-invalid", f"the catalogue has the level {wanted} under more than one id")
    return chosen


def list_variant(entries: Sequence[Variant], base: str) -> Listing:
    """The entries of one variant as files; the first one's digest stands for the revision. Raises SourceRefused."""
    urls: dict[str, str] = {}
    files: list[RemoteFile] = []
    for entry in entries:
        url = _joined(base, entry.url)
        path = unquote(urlsplit(url).path.rpartition("/")[2])
        if not path or path in urls:
            raise SourceRefused(
                "catalogue-invalid", f"the catalogue has {ascii(path)[:120]} as the name of a file, or twice"
            )
        urls[path] = url
        files.append(RemoteFile(path, entry.size, sha256=entry.sha256.lower()))
    return Listing(entries[0].sha256.lower(), files, urls, external_id=entries[0].id, level=entries[0].level)


def _joined(base: str, url: str) -> str:
    try:
        return urljoin(base, url)
    except ValueError as error:
        raise SourceRefused("catalogue-invalid", f"the catalogue has an address that is none: {url[:120]!a}") from error
