"""`model.requested`: pin the revision, choose the files, and ask for each of them.

Handlers are idempotent: a model that has files already gets events for those that still miss.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from functions.download import models, names, plan, sources
from functions.download.blobs import reuse, room
from functions.download.blobs.collector import Collector
from functions.download.blobs.room import Budget, NoRoom
from functions.download.blobs.space import Space
from functions.download.files import SQL
from functions.download.hub import Listing
from functions.download.plan import RemoteFile
from functions.download.problems import SourceRefused, SourceUnwell
from functions.download.publish import Publisher
from functions.download.sources import CatalogueSource, HubSource, WebSource
from functions.download.states import MODEL, ModelCause, ModelState
from functions.download.suppliers import Suppliers
from functions.download.vouching import Vouching
from functions.kit import actors, history
from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.events import CloudEvent, FileRequested, ModelRequested
from functions.kit.history import Attempt
from functions.kit.problem import Retry

# How soon the Broker may ask again when the source does not answer.
RETRY_AFTER_S = 5.0


class Planner:
    """Plans downloads from every kind of source."""

    def __init__(  # noqa: PLR0913  # what a plan depends on
        self,
        db: Database,
        bus: Bus,
        suppliers: Suppliers,
        publisher: Publisher,
        *,
        vouching: Vouching,
        space: Space,
        collector: Collector,
    ) -> None:
        self._db = db
        self._bus = bus
        self._suppliers = suppliers
        self._publisher = publisher
        self._vouching = vouching
        self._space = space
        self._collector = collector

    async def on_model_requested(self, event: CloudEvent) -> None:
        """Handle the event. Raises Retry when the source or a dependency does not answer, Duplicate, BeingProcessed."""
        async with self._bus.alone(event):
            await self._plan(event)

    async def _plan(self, event: CloudEvent) -> None:
        model_uuid = event.decode(ModelRequested).model_uuid
        model = await self._db.fetchrow(SQL.model, model_uuid)
        if model is None:
            return
        if MODEL.after(ModelState(model["status"]), ModelCause.PLANNED) is None:
            await self._too_late(event, model_uuid)
            return
        refusal = await actors.refusal(self._db, event.actor)
        if refusal is not None:
            await self._fail(event, model_uuid, "actor-refused", refusal)
            return
        if await self._db.fetch(SQL.list_files, model_uuid):
            await self._ask_again(event, model_uuid)
            return
        try:
            source = sources.parse(model["source"])
            listing = await self._suppliers.listing(source, model["quant_level"])
            chosen = self._vouching.with_signature(_chosen(source, listing, model), listing.files)
        except SourceUnwell as error:
            await self._db.execute(SQL.note_model, model_uuid, f"{error}; trying again, cancel to stop")
            raise Retry(max(error.after_s, RETRY_AFTER_S), str(error)) from error
        except SourceRefused as error:
            await self._fail(event, model_uuid, error.code, str(error))
        except (plan.Unplannable, names.UnsafeName) as error:
            await self._fail(event, model_uuid, "plan-refused", str(error))
        else:
            await self._admit(event, model, listing, chosen)

    async def _admit(self, event: CloudEvent, model: Any, listing: Listing, chosen: list[RemoteFile]) -> None:
        """Store the plan if there is room for it; what is kept for a while though nobody refers to it makes room first."""
        budget = await self._space.budget() if self._space.is_limited else None
        try:
            await self._store(event, model, listing, chosen, budget)
        except NoRoom as first:
            freed = (await self._collector.collect(0.0)).bytes
            try:
                await self._store(event, model, listing, chosen, _with(budget, freed))
            except NoRoom:
                await self._fail(event, model["uuid"], "no-room", str(first))

    async def _store(
        self, event: CloudEvent, model: Any, listing: Listing, chosen: list[RemoteFile], budget: Budget | None
    ) -> None:
        model_uuid, repository = model["uuid"], model["hf_name"]
        total = sum(file.size for file in chosen)
        levels = {level for file in chosen if (level := plan.quant_level(file.path))}
        level = listing.level or (levels.pop() if len(levels) == 1 else None)
        async with self._bus.transaction(cause=event) as unit:
            state = await unit.connection.fetchval(SQL.lock_model, model_uuid)
            pinned = (listing.revision, total, level, listing.external_id)
            if await unit.connection.fetchval(SQL.pin_model, model_uuid, *pinned) is None:
                await history.refused(unit, MODEL, Attempt(model_uuid, state, ModelCause.PLANNED))
                return
            before = await room.taken(unit) if budget else 0
            await unit.connection.execute(
                SQL.add_files,
                model_uuid,
                [file.path for file in chosen],
                [file.size for file in chosen],
                [file.sha256 for file in chosen],
                [file.git_oid for file in chosen],
                [listing.urls[file.path] for file in chosen],
                [listing.etags.get(file.path) for file in chosen],
            )
            here = await reuse.take_stored(unit, model_uuid, repository, chosen, listing)
            if budget is not None:
                budget.check(before, await room.taken(unit))
            # Large files first: they decide when the model is there.
            for file in sorted(chosen, key=lambda file: -file.size):
                if file.path not in here:
                    unit.emit(FileRequested(model_uuid, file.path, 0))
        if len(here) == len(chosen):
            await self._publisher.publish(model_uuid)

    async def _ask_again(self, event: CloudEvent, model_uuid: str) -> None:
        """A plan exists (a retry, or a second event): ask for the files that miss, or publish when none does."""
        async with self._bus.transaction(cause=event) as unit:
            missing = [
                row["path"]
                for row in await unit.connection.fetch(SQL.list_files, model_uuid)
                if row["status"] != "verified"
            ]
            for path in missing:
                unit.emit(FileRequested(model_uuid, path, 0))
        if not missing:
            await self._publisher.publish(model_uuid)

    async def _fail(self, event: CloudEvent, model_uuid: str, code: str, reason: str) -> None:
        async with self._bus.transaction(cause=event) as unit:
            await models.fail(unit, model_uuid, ModelCause.REFUSED, code, reason)

    async def _too_late(self, event: CloudEvent, model_uuid: str) -> None:
        """The model is available, failed or deleted: whoever has it tried again sends an event of their own."""
        async with self._bus.transaction(cause=event) as unit:
            state = await unit.connection.fetchval(SQL.lock_model, model_uuid)
            await history.refused(unit, MODEL, Attempt(model_uuid, state, ModelCause.PLANNED))


def _with(budget: Budget | None, freed: int) -> Budget | None:
    """The same after so many bytes went: the store's own figure may lag behind."""
    return budget if budget is None or budget.free is None else replace(budget, free=budget.free + freed)


def _chosen(source: sources.Source, listing: Listing, model: Mapping[str, Any]) -> list[RemoteFile]:
    """A source that names one file means that file, whatever the patterns; a catalogue has answered for its level."""
    path = source.path if isinstance(source, HubSource) else source.file_name if isinstance(source, WebSource) else ""
    level = None if isinstance(source, CatalogueSource) else model["quant_level"]
    return plan.select(listing.files, [path] if path else model["include"], model["exclude"], level)
