"""Everything that touches sources and S3, put together.

Imported at the first event, not at start: aiohttp is slow to load, and health checks and refused tokens do without it.
"""

from functools import partial

from yarl import URL

from functions.download.buckets import Buckets
from functions.download.buffers import Buffers
from functions.download.catalogue import Catalogues
from functions.download.cleanup import Cleanup
from functions.download.files import FileRows
from functions.download.folders import Folders
from functions.download.guard import Guard
from functions.download.http import SourceHttp
from functions.download.hub import Hub
from functions.download.planning import Planner
from functions.download.publish import Publisher
from functions.download.ranges import RangeReader
from functions.download.settings import Settings
from functions.download.slices import Slices
from functions.download.sources import BucketSource, CatalogueSource, FolderSource, HubSource, Source, WebSource
from functions.download.suppliers import Suppliers
from functions.download.transfer import Limits, Transfer
from functions.download.upkeep import Upkeep
from functions.download.web import Web
from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.objects import S3Objects
from functions.kit.settings import Secret


class Workshop:
    """The handlers of events, and the clean-up that DELETE and cancel ask for."""

    def __init__(self, settings: Settings, db: Database, bus: Bus, objects: S3Objects) -> None:
        hub_url = URL(settings.hf_endpoint)
        # The hub is the operator's choice and may be inside; it says nothing about what users may name.
        hub_guard = Guard({*settings.allowed_source_hosts, hub_url.host or ""})
        self._http = hub_http, web_http = (
            SourceHttp(hub_guard, settings.stall_s, settings.hf_token, hub_url.origin()),
            SourceHttp(Guard(settings.allowed_source_hosts), settings.stall_s, Secret(""), None),
        )
        rows = FileRows(db)
        limits = Limits(settings.slice_s, settings.part_bytes, settings.parts_in_flight)
        buffers = Buffers(settings.buffer_bytes)
        self.cleanup = Cleanup(db, objects)
        publisher = Publisher(db, bus, objects, self.cleanup, settings.s3_bucket)
        folders = Folders(settings.allowed_source_folders)
        buckets = Buckets(settings.allowed_source_buckets, partial(_source_bucket, settings))
        from_hub, from_web, from_folder = (
            Transfer(reader, objects, rows, buffers, limits)
            for reader in (RangeReader(hub_http, settings.stall_s), RangeReader(web_http, settings.stall_s), folders)
        )
        copier = partial(buckets.copy, objects) if _is_own_s3(settings) else None
        transfers: dict[type[Source], Transfer] = {
            HubSource: from_hub,
            WebSource: from_web,
            CatalogueSource: from_web,
            FolderSource: from_folder,
            BucketSource: Transfer(buckets, objects, rows, buffers, limits, copier=copier),
        }
        hub = Hub(settings.hf_endpoint, hub_http)
        suppliers = Suppliers(hub, Web(web_http), Catalogues(web_http), folders, buckets, transfers)
        self.planner = Planner(db, bus, suppliers, publisher)
        self.slices = Slices(bus, rows, suppliers, publisher, objects, self.cleanup)
        self.upkeep = Upkeep(db, bus, self.cleanup)

    async def close(self) -> None:
        """Close the sessions towards sources: for tests, which outlive their function."""
        for http in self._http:
            await http.close()


def _is_own_s3(settings: Settings) -> bool:
    """Whether s3:// sources lie on the server that keeps the models."""
    return settings.s3_source_endpoint in {"", settings.s3_endpoint}


def _source_bucket(settings: Settings, bucket: str) -> S3Objects:
    if _is_own_s3(settings):
        return S3Objects(
            settings.s3_endpoint, settings.s3_region, settings.s3_access_key, settings.s3_secret_key, bucket
        )
    return S3Objects(
        settings.s3_source_endpoint,
        settings.s3_source_region,
        settings.s3_source_access_key,
        settings.s3_source_secret_key,
        bucket,
    )
