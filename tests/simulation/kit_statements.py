"""What the statements of `functions/kit/queries.sql` do, on the in-memory store. tests/conformance/test_stores.py holds both to one table.

Each takes the transaction and the statement's arguments and answers its rows, columns in their order.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tests.simulation.postgres import Statement
from tests.simulation.store import Row, Transaction

# What `claim_events` says of a clock that was set back.
CLOCK_GRACE_S: Final = 120.0
WEEK_S: Final = 7 * 86400.0


async def mark_processed(t: Transaction, consumer: str, source: str, id_: str) -> list[Row]:
    """Insert, unless it is there; waits for another insert of the same mark."""
    row = {"consumer": consumer, "source": source, "id": id_, "processed_at": t.now}
    return [{"id": id_}] if await t.insert("inbox", (consumer, source, id_), row) else []


async def is_processed(t: Transaction, consumer: str, source: str, id_: str) -> list[Row]:
    """Whether the mark is there."""
    return [{"one": 1}] if t.get("inbox", (consumer, source, id_)) else []


async def add_events(  # noqa: PLR0913, PLR0917 - the statement's arguments
    t: Transaction,
    ids: Sequence[str],
    source: str,
    types: Sequence[str],
    subjects: Sequence[str],
    extensions: Sequence[str],
    data: Sequence[str],
    lease_s: float,
) -> list[Row]:
    """One row per event, leased to its writer."""
    for id_, type_, subject, more, body in zip(ids, types, subjects, extensions, data, strict=True):
        row = {
            "id": id_,
            "source": source,
            "type": type_,
            "subject": subject,
            "extensions": msgspec.json.decode(more),
            "data": msgspec.json.decode(body),
            "body": body.encode(),
            "event_id": None,
            "event_source": None,
            "due_at": t.now + lease_s,
            "attempts": 0,
            "last_error": None,
            "number": t.store.next_identity(),
        }
        await t.add("outbox", id_, row)
    return []


async def claim_events(t: Transaction, source: str, limit: int, lease_s: float) -> list[Row]:
    """Lease what is due and nobody holds."""
    due = sorted(
        (row["due_at"], row["number"], key)
        for key, row in t.scan("outbox")
        if row["source"] == source and not t.now < row["due_at"] <= t.now + CLOCK_GRACE_S
    )
    return [_leased(t, key, lease_s) for key in t.skip_locked("outbox", (key for *_, key in due), limit)]


def _leased(t: Transaction, key: Any, lease_s: float) -> Row:
    row: Row = t.get("outbox", key) or {}
    row = {**row, "due_at": t.now + lease_s, "attempts": row["attempts"] + 1}
    t.put("outbox", key, row)
    return {
        "key": row["id"],
        "id": row["event_id"] or row["id"],
        "source": row["event_source"] or row["source"],
        **{name: row[name] for name in ("type", "subject", "extensions", "body")},
        "redriven": row["event_source"] is not None,
    }


async def remove_events(t: Transaction, ids: Sequence[str]) -> list[Row]:
    """Accepted by the Broker; does not wait for the disk."""
    t.synchronous = False
    for id_ in ids:
        if await t.lock("outbox", id_) is not None:
            t.put("outbox", id_, None)
    return []


async def postpone_events(t: Transaction, ids: Sequence[str], backoff_s: float, cap_s: float, error: str) -> list[Row]:
    """Due again after a back-off that doubles."""
    for id_ in ids:
        if (row := await t.lock("outbox", id_)) is not None:
            wait_s = min(cap_s, 2 ** min(row["attempts"], 20) * backoff_s)
            t.put("outbox", id_, {**row, "due_at": t.now + wait_s, "last_error": error})
    return []


async def bury_events(
    t: Transaction,
    ids: Sequence[str],
    _extensions: Sequence[str],
    dests: Sequence[str],
    _codes: Sequence[int],
    _reasons: Sequence[str],
) -> list[Row]:
    """Out of the outbox and among the dead letters."""
    for id_, dest in zip(ids, dests, strict=True):
        if (row := await t.lock("outbox", id_)) is not None:
            t.put("outbox", id_, None)
            key = (row["event_source"] or row["source"], row["event_id"] or id_, dest)
            before = await t.lock("dead_letters", key) or {"times": 0}
            letter = {"times": before["times"] + 1, "type": row["type"], "subject": row["subject"]}
            t.put("dead_letters", key, letter)
    return []


async def forget_processed(t: Transaction, consumer: str) -> list[Row]:
    """Marks of a week ago."""
    old = [key for key, row in t.scan("inbox") if row["consumer"] == consumer and row["processed_at"] < t.now - WEEK_S]
    for key in old:
        await t.lock("inbox", key)
        t.put("inbox", key, None)
    return []


NAMED: Final[dict[str, Statement]] = {
    each.__name__: each
    for each in (
        mark_processed,
        is_processed,
        add_events,
        claim_events,
        remove_events,
        postpone_events,
        bury_events,
        forget_processed,
    )
}
