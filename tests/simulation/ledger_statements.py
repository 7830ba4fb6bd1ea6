"""What the statements of `kn_model/local/eventing/ledger.sql` do, on the in-memory store; see tests/conformance/test_stores.py."""

import uuid
from collections.abc import Sequence
from typing import Any, Final

from tests.simulation.postgres import Statement
from tests.simulation.store import Row, Transaction

# What the statement `set_back` says of a clock that was set back.
GRACE_S: Final = 60.0
OWED: Final = "broker.owed"


async def create(_: Transaction) -> list[Row]:
    """The table is there."""
    return []


async def take_over(t: Transaction) -> list[Row]:
    """What a killed dispatcher had in hand is due."""
    for key in [key for key, row in t.scan(OWED) if row["owner"] is not None]:
        if (row := await t.lock(OWED, key)) is not None:
            t.put(OWED, key, {**row, "owner": None, "due_at": t.now, "scheduled_at": t.now})
    return []


async def accept(  # noqa: PLR0913, PLR0917 - the statement's arguments
    t: Transaction,
    ids: Sequence[uuid.UUID],
    triggers: Sequence[str],
    attributes: Sequence[str],
    data: Sequence[bytes | None],
    headers: Sequence[str],
    hops: Sequence[int],
    in_hand: Sequence[bool],
    owner: uuid.UUID,
    lease_s: float,
) -> list[Row]:
    """One row for each event and trigger; those in hand leased from birth."""
    columns = ("id", "trigger", "attributes", "data", "headers", "hops")
    for *values, held in zip(ids, triggers, attributes, data, headers, hops, in_hand, strict=True):
        row = dict(zip(columns, values, strict=True)) | {"failures": 0, "error": None, "scheduled_at": t.now}
        row |= {"owner": owner, "due_at": t.now + lease_s} if held else {"owner": None, "due_at": t.now}
        await t.add(OWED, row["id"], row)
    return []


async def claim(t: Transaction, trigger: str, owner: uuid.UUID, lease_s: float, limit: int) -> list[Row]:
    """Lease what is due and nobody holds."""
    t.synchronous = False
    due = sorted(
        (row["due_at"], row["id"].hex, key)
        for key, row in t.scan(OWED)
        if row["trigger"] == trigger and row["due_at"] <= t.now
    )
    claimed = t.skip_locked(OWED, (key for *_, key in due), limit)
    return [_claimed(t, key, owner, lease_s) for key in claimed]


def _claimed(t: Transaction, key: Any, owner: uuid.UUID, lease_s: float) -> Row:
    row: Row = t.get(OWED, key) or {}
    t.put(OWED, key, {**row, "owner": owner, "due_at": t.now + lease_s, "scheduled_at": t.now})
    return {name: row[name] for name in ("id", "failures", "error", "attributes", "data", "headers", "hops")}


async def finish(t: Transaction, ids: Sequence[uuid.UUID]) -> list[Row]:
    """These are over."""
    t.synchronous = False
    for id_ in ids:
        if await t.lock(OWED, id_) is not None:
            t.put(OWED, id_, None)
    return []


async def postpone(  # noqa: PLR0913, PLR0917 - the statement's arguments
    t: Transaction, id_: uuid.UUID, owner: uuid.UUID, failures: int, error: str | None, wait_s: float
) -> list[Row]:
    """Due again later, unless another dispatcher has it by now."""
    t.synchronous = False
    row = await t.lock(OWED, id_)
    if row is not None and row["owner"] == owner:
        changed = {"failures": failures, "error": error, "owner": None, "due_at": t.now + wait_s}
        t.put(OWED, id_, {**row, **changed, "scheduled_at": t.now})
    return []


async def renew(t: Transaction, owner: uuid.UUID, ids: Sequence[uuid.UUID], lease_s: float) -> list[Row]:
    """What is in hand stays there."""
    t.synchronous = False
    held = (id_ for id_ in ids if (row := t.get(OWED, id_)) is not None and row["owner"] == owner)
    for key in t.skip_locked(OWED, held, len(ids)):
        t.put(OWED, key, {**(t.get(OWED, key) or {}), "due_at": t.now + lease_s, "scheduled_at": t.now})
    return []


async def set_back(t: Transaction) -> list[Row]:
    """What was scheduled in a future that is no more is due."""
    ahead = (key for key, row in t.scan(OWED) if row["scheduled_at"] > t.now + GRACE_S)
    for key in t.skip_locked(OWED, ahead, 10000):
        t.put(OWED, key, {**(t.get(OWED, key) or {}), "due_at": t.now, "scheduled_at": t.now})
    return []


async def waits(t: Transaction) -> list[Row]:
    """Seconds until the next row of each trigger is due."""
    soonest: dict[str, float] = {}
    for _, row in t.scan(OWED):
        soonest[row["trigger"]] = min(row["due_at"], soonest.get(row["trigger"], row["due_at"]))
    return [{"trigger": trigger, "wait": at - t.now} for trigger, at in soonest.items()]


async def forget(t: Transaction, trigger: str) -> list[Row]:
    """Nobody wants these."""
    unwanted = (key for key, row in t.scan(OWED) if row["trigger"] == trigger)
    for key in t.skip_locked(OWED, unwanted, 10000):
        t.put(OWED, key, None)
    return []


NAMED: Final[dict[str, Statement]] = {
    each.__name__: each for each in (create, take_over, accept, claim, finish, postpone, renew, set_back, waits, forget)
}
