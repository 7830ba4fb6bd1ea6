"""Who lists and carries the files of each kind of source: the one place that knows all kinds.

`planning` asks for a listing, `slices` for the transfer and the origin of a file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from yarl import URL

from functions.download import hub, web
from functions.download.buckets import Buckets
from functions.download.catalogue import Catalogues
from functions.download.files import FileRow
from functions.download.folders import Folders
from functions.download.hub import Hub, Listing
from functions.download.ranges import Origin
from functions.download.registry import Registry
from functions.download.sources import (
    BucketSource,
    CatalogueSource,
    FolderSource,
    HubSource,
    RegistrySource,
    Source,
    WebSource,
    parse,
)
from functions.download.transfer import Transfer
from functions.download.web import Web


@dataclass(frozen=True, slots=True)
class Suppliers:
    """One of each kind. transfers: what carries their files."""

    hub: Hub
    web: Web
    catalogues: Catalogues
    folders: Folders
    buckets: Buckets
    registry: Registry
    transfers: Mapping[type[Source], Transfer]

    async def listing(self, source: Source, level: str | None) -> Listing:
        """What the source holds, pinned. level: the quantisation asked for. Raises SourceRefused, SourceUnwell."""
        match source:
            case HubSource():
                return await self.hub.listing(source)
            case WebSource():
                return await self.web.listing(source)
            case CatalogueSource():
                return await self.catalogues.listing(source, level)
            case FolderSource():
                return await self.folders.listing(source)
            case BucketSource():
                return await self.buckets.listing(source)
            case RegistrySource():
                return await self.registry.listing(source)

    def transfer(self, source: Source) -> Transfer:
        """What carries files of this kind of source."""
        return self.transfers[type(source)]


def origin_of(file: FileRow) -> Origin:
    """Where a file's bytes come from, and what its source's refusals mean."""
    source = parse(file.source)
    if isinstance(source, HubSource):
        return Origin(file.url, file.size, partial(_hub_refusal, source, file.revision), file.etag)
    host = URL(file.url, encoded=True).raw_host or ""
    return Origin(file.url, file.size, lambda status, _: web.refusal(host, status), file.etag)


def _hub_refusal(source: HubSource, revision: str, status: int, code: str) -> Exception:
    return hub.refusal(status, code, source.repository, revision)
