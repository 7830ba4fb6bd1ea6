"""Which events make `serve` look at evaluations: models that arrive, temporary servers that change, and ticks.

Wraps the table of handlers, so that none of them has to know of evaluations. For a tick it is one of the rounds: what
comes after the others would not be made when one of them fails.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from functions.kit import events
from functions.kit.bus import Bus, Handler
from functions.kit.db import Database
from functions.kit.events import CloudEvent, EvaluationRequested, ModelAvailable, ServerRequested
from functions.serve import afterwards, observe
from functions.serve.afterwards import Look
from functions.serve.evaluation.rows import SQL

# Longer than a slice of prompts takes with its event's way, so that a tick does not ask the same ones beside it.
STALLED_S: Final = 75.0


class Hints:
    """Emits `evaluation.requested` for whatever may be able to get on."""

    def __init__(self, db: Database, bus: Bus, namespace: str) -> None:
        self._db = db
        self._bus = bus
        self._namespace = namespace

    def around(self, table: Mapping[str, Handler]) -> Mapping[str, Handler]:
        """The table with a look at the evaluations that each event concerns."""
        concerned: dict[str, Look] = {
            ModelAvailable.TYPE: self._of_model,
            ServerRequested.TYPE: self._of_server,
            **dict.fromkeys(events.RESOURCE_CHANGES, self._of_object),
        }
        return afterwards.around(table, concerned)

    async def _of_model(self, _: CloudEvent) -> None:
        await self._tell(await self._db.fetch(SQL.list_waiting, self._namespace))

    async def _of_server(self, event: CloudEvent) -> None:
        """Asking the cluster for a server may have failed it."""
        await self._tell(await self._db.fetch(SQL.of_server, event.decode(ServerRequested).server_uuid))

    async def _of_object(self, event: CloudEvent) -> None:
        uuid = observe.server_uuid(afterwards.object_of(event))
        if uuid is not None:
            await self._tell(await self._db.fetch(SQL.of_server, uuid))

    async def tick(self, _: CloudEvent) -> None:
        """Evaluations that nobody has got on with: their events were lost."""
        await self._tell(await self._db.fetch(SQL.list_stalled, self._namespace, STALLED_S))

    async def _tell(self, found: Sequence[Any]) -> None:
        if not found:
            return
        async with self._bus.transaction() as unit:
            for row in found:
                unit.emit(EvaluationRequested(row["uuid"]), actor=row["actor"])
