"""The tick of `serve`: whatever an event should have done and did not is done now. Called every minute.

Sends what the outbox still holds, re-drives servers that nobody works on, and compares the records with what the API
lists, both ways. Every step is idempotent, so two ticks at once only do the same thing twice.
"""

import logging
from typing import Any, Final

from functions.kit import kube
from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.events import CloudEvent, ModelAvailable, RolloutMeasured, ServerRequested
from functions.kit.kube import Json
from functions.serve import handlers, observe, opening, records
from functions.serve.cluster import Kubernetes
from functions.serve.records import SQL
from functions.serve.service import MODEL_LABEL
from functions.serve.settings import Settings

# A handler has 60 s (knative/base/serve/service.yaml); a server pending for longer has lost its event.
STALLED_AFTER_S: Final = 60.0
_LOG = logging.getLogger("torpor.serve")


class Tick:
    """The handler of the tick."""

    def __init__(self, db: Database, bus: Bus, api: Kubernetes, settings: Settings) -> None:
        self._db = db
        self._bus = bus
        self._api = api
        self._settings = settings

    async def __call__(self, _: CloudEvent) -> None:
        """One round."""
        await self._bus.resend()
        await self._redrive()
        await self._compare()

    async def _redrive(self) -> None:
        stalled = await self._db.fetch(SQL.list_stalled_servers, self._settings.namespace, STALLED_AFTER_S)
        async with self._bus.transaction() as unit:
            for row in stalled:
                _LOG.warning(
                    "server %s has been pending for more than %.0f s; it is driven again", row["uuid"], STALLED_AFTER_S
                )
                unit.emit(ServerRequested(row["uuid"]), actor=row["actor"])
            for row in await unit.connection.fetch(SQL.list_rollouts_under_way, self._settings.namespace):
                unit.emit(RolloutMeasured(row["uuid"]))
                unit.emit(ServerRequested(row["server_uuid"]))
            for row in await unit.connection.fetch(SQL.list_pinned_servers, self._settings.namespace):
                unit.emit(ServerRequested(row["uuid"]))
            for row in await unit.connection.fetch(SQL.list_unserved_models, STALLED_AFTER_S):
                _LOG.warning(
                    "model %s is available and nobody was told to serve it; it is asked for again", row["uuid"]
                )
                named = {"modelname": row["model_name"], "actor": row["actor"]}
                unit.emit(ModelAvailable(row["uuid"], row["model_name"]), **named)

    async def _compare(self) -> None:
        """Records are read before the API is asked: a record past `pending` has its Service by then."""
        live = {row["uuid"] for row in await self._db.fetch(SQL.list_live_servers, self._settings.namespace)}
        services, revisions = await self._list("Service", "services"), await self._list("Revision", "revisions")
        for obj in [*services, *revisions]:
            await self._follow(obj)
        present = {observe.server_uuid(obj) for obj in services}
        for uuid in live - present:
            await self._restore(uuid)

    async def _list(self, kind: str, plural: str) -> list[Json]:
        path = kube.path("serving.knative.dev/v1", plural, self._settings.namespace)
        found: Any = await self._api.get(path, labelSelector=MODEL_LABEL) or {}
        # Items of a list carry no kind of their own.
        return [{**item, "kind": kind} for item in found.get("items", [])]

    async def _follow(self, obj: Json) -> None:
        uuid = observe.server_uuid(obj)
        if uuid is not None:
            opened = await opening.open_route(self._db, self._api, self._settings, obj)
            async with self._bus.transaction() as unit:
                await handlers.follow_object(unit, uuid, obj, obj)
                if not opened:
                    unit.emit(ServerRequested(uuid))

    async def _restore(self, uuid: str) -> None:
        async with self._bus.transaction() as unit:
            row = await unit.connection.fetchrow(SQL.lock_server, uuid)
            await handlers.restore(unit, records.record_of(row), "")
