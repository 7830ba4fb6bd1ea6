"""Everything that touches sources and S3, put together.

Imported at the first event, not at start: aiohttp is slow to load, and health checks and refused tokens do without it.
"""

from dataclasses import dataclass
from functools import partial

from yarl import URL

from functions.download import signatures
from functions.download.blobs.collector import Collector
from functions.download.blobs.shelf import Shelf
from functions.download.blobs.space import Space
from functions.download.buckets import Buckets
from functions.download.buffers import Buffers
from functions.download.catalogue import Catalogues
from functions.download.cleanup import Cleanup
from functions.download.files import FileRows
from functions.download.folders import Folders
from functions.download.guard import source_guard
from functions.download.http import SourceHttp
from functions.download.hub import Hub
from functions.download.planning import Planner
from functions.download.publish import Publisher
from functions.download.ranges import RangeReader, Reads
from functions.download.registry import Registry
from functions.download.settings import Settings
from functions.download.slices import Slices
from functions.download.sources import BucketSource, CatalogueSource, FolderSource, HubSource, RegistrySource, WebSource
from functions.download.suppliers import Suppliers
from functions.download.transfer import Copier, Limits, Transfer
from functions.download.upkeep import Upkeep
from functions.download.vouching import Vouching
from functions.download.web import Web
from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.objects import S3Objects
from functions.kit.settings import Secret


@dataclass(frozen=True, slots=True)
class _Http:
    """The ways to the hub, to whatever a user names, to MLflow, and to the store's status page: each trusts other hosts and carries another token."""

    hub: SourceHttp
    web: SourceHttp
    registry: SourceHttp
    store: SourceHttp


@dataclass(frozen=True, slots=True)
class _Carrying:
    """What transfers of all kinds of source share."""

    objects: S3Objects
    rows: FileRows
    buffers: Buffers
    limits: Limits

    def transfer(self, reader: Reads, copier: Copier | None = None) -> Transfer:
        """A transfer over one reader."""
        return Transfer(reader, self.objects, self.rows, self.buffers, self.limits, copier=copier)


class Workshop:
    """The handlers of events, and the clean-up that DELETE and cancel ask for."""

    def __init__(self, settings: Settings, db: Database, bus: Bus, objects: S3Objects) -> None:
        self._http = _Http(
            hub=_trusting(settings, settings.hf_endpoint, settings.hf_token),
            web=SourceHttp(source_guard(settings.allowed_source_hosts), settings.stall_s, Secret(""), None),
            registry=_trusting(settings, settings.mlflow_url, settings.mlflow_token),
            store=_trusting(settings, settings.store_status_url, Secret("")),
        )
        rows = FileRows(db)
        limits = Limits(settings.slice_s, settings.part_bytes, settings.parts_in_flight, settings.workers_per_file)
        carrying = _Carrying(objects, rows, Buffers(settings.buffer_bytes), limits)
        self.cleanup = Cleanup(db, objects)
        self.blobs = Shelf(db, objects)
        self.collector = Collector(db, objects, settings.blob_grace_s)
        vouching = Vouching(settings.signature_policy, signatures.load_keys(settings.signature_keys))
        publisher = Publisher(db, bus, objects, self.cleanup, self.blobs, vouching=vouching)
        suppliers = _suppliers(settings, self._http, carrying)
        space = Space(settings.store_quota_bytes, settings.store_status_url, self._http.store)
        self.planner = Planner(db, bus, suppliers, publisher, vouching=vouching, space=space, collector=self.collector)
        self.slices = Slices(bus, rows, suppliers, publisher, objects, self.cleanup, self.blobs)
        self.upkeep = Upkeep(db, bus, self.cleanup, self.collector)

    async def close(self) -> None:
        """Close the sessions towards sources: for tests, which outlive their function."""
        for http in (self._http.hub, self._http.web, self._http.registry, self._http.store):
            await http.close()


def _trusting(settings: Settings, address: str, token: Secret) -> SourceHttp:
    """A way to a server of the operator's choice: it may be inside, which says nothing about what users may name."""
    url = URL(address)
    chosen = {url.host} if url.host else set()
    guard = source_guard({*settings.allowed_source_hosts, *chosen})
    return SourceHttp(guard, settings.stall_s, token, url.origin() if chosen else None)


def _suppliers(settings: Settings, http: _Http, carrying: _Carrying) -> Suppliers:
    folders = Folders(settings.allowed_source_folders)
    buckets = Buckets(settings.allowed_source_buckets, partial(_source_bucket, settings))
    copier = partial(buckets.copy, carrying.objects) if _is_own_s3(settings) else None
    from_web = carrying.transfer(RangeReader(http.web))
    from_bucket = carrying.transfer(buckets, copier)
    return Suppliers(
        hub=Hub(settings.hf_endpoint, http.hub),
        web=Web(http.web),
        catalogues=Catalogues(http.web),
        folders=folders,
        buckets=buckets,
        registry=Registry(settings.mlflow_url, settings.mlflow_artifacts, http.registry, buckets),
        transfers={
            HubSource: carrying.transfer(RangeReader(http.hub)),
            WebSource: from_web,
            CatalogueSource: from_web,
            FolderSource: carrying.transfer(folders),
            BucketSource: from_bucket,
            RegistrySource: from_bucket,
        },
    )


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
