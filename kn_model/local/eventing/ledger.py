"""What the broker has promised to deliver, in PostgreSQL schema `broker`: an event is there until nobody is owed it.

Called by the broker (open) and its dispatcher (everything else). All times are the database's own clock.
"""

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from kn_model.local import queries
from kn_model.local.data.postgres import unreachable
from kn_model.local.eventing.cloudevent import CloudEvent
from kn_model.local.eventing.group_commit import GroupCommit

if TYPE_CHECKING:
    import asyncpg

_Row: TypeAlias = tuple[uuid.UUID, str, str, bytes | None, str, int, bool]
"""Arguments of `accept`: id, trigger, attributes, data, headers, hops, in hand."""

_SQL = queries.load(Path(__file__).with_suffix(".sql"))

# A dispatcher that is not killed renews twice in this time; one that is killed delays its events by it.
LEASE_S: Final = 15.0


class LedgerDown(Exception):
    """PostgreSQL cannot do it now"""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event to keep, for the triggers that want it.

    hops: what is left of its TTL. headers: go with it to the subscribers. in_hand: of the triggers, those whose worker
    delivers it as soon as it is kept; the others' find it by a claim.
    """

    event: CloudEvent
    triggers: Sequence[str]
    hops: int
    headers: Mapping[str, str]
    in_hand: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Claimed:
    """One event for one trigger, in this dispatcher's hands. `error` is set once it goes to the dead letter sink."""

    id: uuid.UUID
    trigger: str
    event: CloudEvent
    hops: int
    headers: Mapping[str, str]
    failures: int = 0
    error: Mapping[str, str] | None = None


class Ledger:
    """The durable part of the broker. Every method raises LedgerDown when PostgreSQL does not answer or cannot."""

    def __init__(self, pool: "asyncpg.Pool[Any]", new_id: Callable[[], uuid.UUID] = uuid.uuid4) -> None:
        """new_id: ids of rows and of this dispatcher; a simulation makes them from its seed."""
        self._pool = pool
        self._new_id = new_id
        self._owner = new_id()
        self._accepting = GroupCommit(self._accept)
        self._finishing = GroupCommit(self._finish)

    async def open(self, *, alone: bool) -> None:
        """Make the table. alone: no other dispatcher can be running, so that what is in hand was a killed one's."""
        await self._ask("create", "execute")
        if alone:
            await self._ask("take_over", "execute")

    async def accept(self, accepted: Accepted) -> Sequence[Claimed]:
        """Keep one event; when this returns, it survives a kill of everything. Answers what is in hand from now on."""
        claimed = [
            Claimed(self._new_id(), trigger, accepted.event, accepted.hops, accepted.headers)
            for trigger in accepted.triggers
        ]
        # Encoded here: what cannot be is this event's trouble, not that of the others in its batch.
        attributes, headers = _json(accepted.event.attributes), _json(accepted.headers)
        await self._accepting.put(
            [
                (
                    each.id,
                    each.trigger,
                    attributes,
                    each.event.data,
                    headers,
                    each.hops,
                    each.trigger in accepted.in_hand,
                )
                for each in claimed
            ]
        )
        return [each for each in claimed if each.trigger in accepted.in_hand]

    async def claim(self, trigger: str, limit: int) -> Sequence[Claimed]:
        """Take up to `limit` due rows of one trigger, those due longest first."""
        rows: Iterable[Any] = await self._ask("claim", "fetch", trigger, self._owner, LEASE_S, limit)
        return [_claimed(trigger, row) for row in rows]

    async def finish(self, claimed: Claimed) -> None:
        """This delivery is over, for good or for bad."""
        await self._finishing.put(claimed.id)

    async def postpone(self, claimed: Claimed, failures: int, error: Mapping[str, str] | None, wait_s: float) -> None:
        """Try again in `wait_s` seconds; with an error: at the dead letter sink."""
        text = None if error is None else _json(error)
        await self._ask("postpone", "execute", claimed.id, self._owner, failures, text, wait_s)

    async def renew(self, held: Iterable[Claimed]) -> None:
        """Keep what this dispatcher has in hand; what it does not renew is due again after LEASE_S."""
        if ids := [each.id for each in held]:
            await self._ask("renew", "execute", self._owner, ids, LEASE_S)

    async def waits(self) -> Mapping[str, float]:
        """Seconds until the next row of each trigger that is owed something is due, 0 when it is."""
        await self._ask("set_back", "execute")
        rows: Iterable[Any] = await self._ask("waits", "fetch")
        return {row["trigger"]: max(0.0, row["wait"]) for row in rows}

    async def forget(self, trigger: str) -> None:
        """A trigger is gone, and what it was owed."""
        await self._ask("forget", "execute", trigger)

    async def _accept(self, batch: Sequence[Sequence[_Row]]) -> None:
        columns = zip(*(row for rows in batch for row in rows), strict=True)
        await self._ask("accept", "execute", *map(list, columns), self._owner, LEASE_S)

    async def _finish(self, batch: Sequence[uuid.UUID]) -> None:
        await self._ask("finish", "execute", batch)

    async def _ask(self, name: str, how: str, *arguments: Any) -> Any:
        try:
            return await getattr(self._pool, how)(_SQL[name], *arguments)
        except _passing() as error:
            if isinstance(error, ValueError):  # an argument that has no place in its column: asyncpg's own, and a bug
                raise
            raise LedgerDown(f"{type(error).__name__}: {error}") from error


def _claimed(trigger: str, row: Mapping[str, Any]) -> Claimed:
    return Claimed(
        id=row["id"],
        trigger=trigger,
        event=CloudEvent(msgspec.json.decode(row["attributes"]), row["data"]),
        hops=row["hops"],
        headers=msgspec.json.decode(row["headers"]),
        failures=row["failures"],
        error=msgspec.json.decode(row["error"]) if row["error"] else None,
    )


def _json(value: Mapping[str, str]) -> str:
    return msgspec.json.encode(dict(value)).decode()


def _passing() -> tuple[type[Exception], ...]:
    """What is not the statement's fault: besides a server that is away, a deadlock, a full disk, a failing one."""
    import asyncpg

    return (
        *unreachable(),
        asyncpg.TransactionRollbackError,
        asyncpg.InsufficientResourcesError,
        asyncpg.PostgresSystemError,
        asyncpg.LockNotAvailableError,
    )
