"""Who lists and carries the files of each kind of source: the one place that knows all kinds.

`planning` asks for a listing, `slices` for the transfer and the origin of a file.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from yarl import URL

from functions.download import hub, web
from functions.download.buckets import Buckets
from functions.download.catalogue import Catalogues
from functions.download.files import FileRow
from functions.download.folders import Folders
from functions.download.hub import Hub, Listing
from functions.download.problems import SourceUnwell
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

# The largest repositories are listed within seconds; a Broker waits a minute for the handler.
LISTING_S: Final = 40.0


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
        try:
            async with asyncio.timeout(LISTING_S):
                return await self._listing(source, level)
        except TimeoutError as error:
            raise SourceUnwell(f"the source has not said within {LISTING_S:.0f} s what it holds") from error

    async def _listing(self, source: Source, level: str | None) -> Listing:
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
    is_unproven = file.sha256 is None and file.git_oid is None
    return Origin(file.url, file.size, lambda status, _: web.refusal(host, status), file.etag, is_unproven=is_unproven)


def _hub_refusal(source: HubSource, revision: str, status: int, code: str) -> Exception:
    return hub.refusal(status, code, source.repository, revision)
