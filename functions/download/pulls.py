"""What people and programs ask for: pull, cancel, retry, delete. Each is one transaction; the events do the work."""

import hashlib
import uuid
from typing import Any, Final

import msgspec

from functions.download import models, sources
from functions.download.files import SQL
from functions.download.problems import IllegalTransition, ModelInUse, ModelNameAmbiguous, ModelNotFound, SourceInvalid
from functions.download.requests import PullRequest
from functions.download.sources import CatalogueSource, FolderSource, HubSource, Source, WebSource
from functions.download.states import FILE, MODEL, FileCause, ModelCause
from functions.kit.bus import Bus, Unit
from functions.kit.db import Database
from functions.kit.events import ModelDeleted, ModelRequested

CANCELLED: Final = "cancelled"


class Pulls:
    """Models as their owners change them. allowed_hosts: what plain http:// sources may name; folders: likewise file://."""

    def __init__(
        self, db: Database, bus: Bus, allowed_hosts: tuple[str, ...], allowed_folders: tuple[str, ...] = ()
    ) -> None:
        self._db = db
        self._bus = bus
        self._allowed_hosts = allowed_hosts
        self._allowed_folders = allowed_folders

    async def pull(self, request: PullRequest, actor: str) -> dict[str, Any]:
        """The record of the request: a new one, or that of an equal request, tried again when it had failed."""
        source = self._source(request.source)
        async with self._bus.transaction(actor=actor) as unit:
            found = None
            # The equal one may be deleted between the two.
            while found is None:
                added = await unit.connection.fetchval(SQL.add_model, *_row(request, source, actor))
                if added is not None:
                    unit.emit(ModelRequested(added))
                    break
                found = await unit.connection.fetchrow(SQL.find_request, _request_key(request, source))
            else:
                added = found["uuid"]
                if found["status"] in MODEL.allowing(ModelCause.RETRIED):
                    await _try_again(unit, added, actor)
        return await self.show(added)

    async def retry(self, wanted: str, actor: str) -> dict[str, Any]:
        """Try a failed model again: verified files stay, the rest is fetched."""
        model_uuid = await self.find(wanted)
        async with self._bus.transaction(actor=actor) as unit:
            if not await _try_again(unit, model_uuid, actor):
                raise IllegalTransition("only a failed model can be retried")
        return await self.show(model_uuid)

    async def cancel(self, wanted: str, actor: str) -> dict[str, Any]:
        """Stop a download; its record stays, failed as cancelled, and can be retried."""
        model_uuid = await self.find(wanted)
        async with self._bus.transaction(actor=actor) as unit:
            if not await models.fail(unit, model_uuid, ModelCause.CANCELLED, CANCELLED, f"cancelled by {actor}"):
                raise IllegalTransition("only a model that is being downloaded can be cancelled")
        return await self.show(model_uuid)

    async def delete(self, wanted: str, actor: str) -> str:
        """Mark the model deleted and answer its uuid. Raises ModelInUse while a server has it."""
        model_uuid = await self.find(wanted)
        async with self._bus.transaction(actor=actor) as unit:
            await unit.connection.fetchval(SQL.lock_model, model_uuid)
            servers = [row["service_name"] for row in await unit.connection.fetch(SQL.servers_of_model, model_uuid)]
            if servers:
                raise ModelInUse(f"served by {', '.join(servers)}: DELETE /serve/{servers[0]} first", servers=servers)
            allowed, after = MODEL.allowing(ModelCause.DELETED), MODEL.target(ModelCause.DELETED)
            if await unit.connection.fetchval(SQL.delete_model, model_uuid, allowed, after) is None:
                raise ModelNotFound(f"the model {wanted} is deleted already")
            await models.stop_transfers(unit, model_uuid)
            unit.emit(ModelDeleted(model_uuid))
        return model_uuid

    async def find(self, wanted: str) -> str:
        """The uuid of a model named by uuid or name. Raises ModelNotFound, ModelNameAmbiguous."""
        rows = await self._db.fetch(SQL.find_models, wanted)
        if not rows or (rows[0]["uuid"] == wanted and rows[0]["status"] == "deleted"):
            raise ModelNotFound(f"no model has the uuid or the name {wanted[:100]!r}")
        if len(rows) > 1 and rows[0]["uuid"] != wanted:
            raise ModelNameAmbiguous(f"several models are named {wanted}: use the uuid, GET /models lists them")
        return str(rows[0]["uuid"])

    async def show(self, model_uuid: str) -> dict[str, Any]:
        """The record as the API answers it; GET /models/{id} of `status` has the progress beside it."""
        return dict(await self._db.fetchrow(SQL.show_model, model_uuid))

    def _source(self, text: str) -> Source:
        try:
            source = sources.parse(text)
        except sources.InvalidSource as error:
            raise SourceInvalid(str(error)) from error
        if isinstance(source, FolderSource):
            if not self._allowed_folders:
                raise SourceInvalid("file:// is for the laptop runtime: this one reads no files of its machine")
        elif isinstance(source, WebSource | CatalogueSource) and not self._may_be_plain(source):
            raise SourceInvalid("http:// is not encrypted: use https://, or have the host allowed by the operator")
        return source

    def _may_be_plain(self, source: WebSource | CatalogueSource) -> bool:
        return source.scheme != "http" or source.host in self._allowed_hosts


async def _try_again(unit: Unit, model_uuid: str, actor: str) -> bool:
    again = (MODEL.allowing(ModelCause.RETRIED), MODEL.target(ModelCause.RETRIED))
    if await unit.connection.fetchval(SQL.move_model, model_uuid, *again, None, None) is None:
        return False
    await unit.connection.execute(SQL.asked_by, model_uuid, actor)
    await unit.connection.execute(SQL.drop_plan, model_uuid)
    allowed, after = FILE.allowing(FileCause.RETRIED), FILE.target(FileCause.RETRIED)
    await unit.connection.execute(SQL.retry_files, model_uuid, allowed, after)
    unit.emit(ModelRequested(model_uuid))
    return True


def _row(request: PullRequest, source: Source, actor: str) -> tuple[object, ...]:
    hub_name = source.repository if isinstance(source, HubSource) else None
    name = request.name or source.model_name
    key = _request_key(request, source)
    patterns = (list(request.include), list(request.exclude))
    asked = (request.serve_request, actor, request.quant_level)
    return (str(uuid.uuid4()), name, hub_name, request.source, key, *patterns, *asked)


def _request_key(request: PullRequest, source: Source) -> str:
    """What makes two requests the same: source, name, patterns and what is to be served."""
    serve = msgspec.json.encode(request.serve_request, order="deterministic").decode()
    name = request.name or source.model_name
    parts = [repr(source), name, sorted(request.include), sorted(request.exclude), serve]
    parts += [request.quant_level.upper()] if request.quant_level else []
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()
