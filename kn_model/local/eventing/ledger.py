"""What the broker has promised to deliver, in PostgreSQL schema `broker`: an event is there until nobody is owed it.

Called by the broker (accept) and its dispatcher (everything else). All times are the database's own clock.
"""

import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kn_model.local import queries
from kn_model.local.data.postgres import unreachable
from kn_model.local.eventing.cloudevent import CloudEvent
from kn_model.local.eventing.group_commit import GroupCommit

if TYPE_CHECKING:
    import asyncpg

_SQL = queries.load(Path(__file__).with_suffix(".sql"))

# A dispatcher that is not killed renews twice in this time; one that is killed delays its events by it.
LEASE_S: Final = 15.0


class LedgerDown(Exception):
    """PostgreSQL does not answer"""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event to keep, for the triggers that want it. `hops`: replies that it may still cause."""

    event: CloudEvent
    triggers: Sequence[str]
    hops: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """One delivery in this dispatcher's hands. `error` is set once it goes to the dead letter sink."""

    id: uuid.UUID
    trigger: str
    event: CloudEvent
    hops: int
    failures: int
    error: Mapping[str, str] | None


class Ledger:
    """The durable part of the broker. Every method raises LedgerDown when PostgreSQL does not answer."""

    def __init__(self, pool: "asyncpg.Pool[Any]", new_id: Callable[[], uuid.UUID] = uuid.uuid4) -> None:
        """new_id: ids of events and of this dispatcher; a simulation makes them from its seed."""
        self._pool = pool
        self._new_id = new_id
        self._owner = new_id()
        self._accepting = GroupCommit(self._accept)
        self._finishing = GroupCommit(self._finish)

    async def open(self, *, alone: bool) -> None:
        """Make the tables. alone: no other dispatcher can be running, so that leases found here are a killed one's."""
        await self._execute("create")
        if alone:
            await self._execute("take_over")
        await self._execute("sweep")

    async def accept(self, accepted: Accepted) -> None:
        """Keep one event; when this returns, it survives a kill of everything."""
        await self._accepting.put(accepted)

    async def claim(self, trigger: str, limit: int) -> Sequence[Claimed]:
        """Take up to `limit` due deliveries of one trigger, oldest first."""
        rows = await self._fetch("claim", trigger, self._owner, LEASE_S, limit)
        return [
            Claimed(
                id=row["event"],
                trigger=trigger,
                event=CloudEvent(json.loads(row["attributes"]), row["data"]),
                hops=row["hops"],
                failures=row["failures"],
                error=json.loads(row["error"]) if row["error"] else None,
            )
            for row in rows
        ]

    async def finish(self, claimed: Claimed) -> None:
        """This delivery is over, for good or for bad."""
        await self._finishing.put(claimed)

    async def postpone(self, claimed: Claimed, failures: int, error: Mapping[str, str] | None, wait_s: float) -> None:
        """Try again in `wait_s` seconds; with an error: at the dead letter sink."""
        text = None if error is None else json.dumps(dict(error))
        await self._execute("postpone", claimed.id, claimed.trigger, failures, text, wait_s)

    async def renew(self) -> None:
        """Keep what this dispatcher has in hand."""
        await self._execute("renew", self._owner, LEASE_S)

    async def waits(self) -> Mapping[str, float]:
        """Seconds until the next delivery of each trigger that has one and that nobody here has in hand."""
        return {row["trigger"]: max(0.0, row["wait"]) for row in await self._fetch("waits", self._owner)}

    async def forget(self, trigger: str) -> None:
        """A trigger is gone, and what it was owed."""
        await self._execute("drop_trigger", trigger)
        await self._execute("sweep")

    async def _accept(self, batch: Sequence[Accepted]) -> None:
        kept = [(self._new_id(), each) for each in batch]
        owed = [(id_, trigger) for id_, each in kept for trigger in each.triggers]
        await self._execute(
            "accept",
            [id_ for id_, _ in kept],
            [json.dumps(dict(each.event.attributes)) for _, each in kept],
            [each.event.data for _, each in kept],
            [each.hops for _, each in kept],
            [id_ for id_, _ in owed],
            [trigger for _, trigger in owed],
        )

    async def _finish(self, batch: Sequence[Claimed]) -> None:
        await self._execute("finish", [each.id for each in batch], [each.trigger for each in batch])

    async def _execute(self, name: str, *arguments: Any) -> None:
        await self._ask(name, "execute", arguments)

    async def _fetch(self, name: str, *arguments: Any) -> Iterable[Any]:
        found: Iterable[Any] = await self._ask(name, "fetch", arguments)
        return found

    async def _ask(self, name: str, how: str, arguments: Sequence[Any]) -> Any:
        try:
            return await getattr(self._pool, how)(_SQL[name], *arguments)
        except unreachable() as error:
            raise LedgerDown(str(error)) from error
