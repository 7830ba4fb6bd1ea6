"""Usage: batches from engines stored once, and their sums for people. Called by the routes."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec

from functions.kit.bus import Unit
from functions.kit.db import queries
from functions.kit.events import CloudEvent, RolloutMeasured, UsageRecord, UsageRecorded
from functions.kit.identity import Identity
from functions.kit.problem import BadRequest, Reject
from functions.status import paging
from functions.status.deps import Rows
from functions.status.paging import Page

SQL = queries(str(Path(__file__)))

# A column of type INT or BIGINT; a larger number is a broken sender and would fail in PostgreSQL for ever.
_MAX_INT = 2**31 - 1
_MAX_BIGINT = 2**63 - 1


class UsageView(msgspec.Struct, frozen=True):
    """Requests and tokens of one model, one caller and one key on one UTC day; `key_id` is null for a login.

    requests: those that the engine took, errors among them. errors: those of which the caller left before the end (499)
    and those that the engine failed (5xx), which used no tokens unless it failed in the middle of a stream.
    """

    day: date
    model: str
    subject: str
    key_id: str | None
    requests: int
    errors: int
    prompt_tokens: int
    completion_tokens: int


def usage_view(row: Mapping[str, Any]) -> UsageView:
    """One row of sum_usage."""
    return UsageView(
        row["day"],
        row["model_name"],
        row["subject"],
        row["key"] or None,
        row["requests"],
        row["errors"],
        row["prompt_tokens"],
        row["completion_tokens"],
    )


def visible_subject(who: Identity, query: Mapping[str, str]) -> str | None:
    """Whose usage is shown: a user's own; for operators and admins the `subject` asked for, None for everybody's."""
    if who.role == "user":
        return who.subject
    return query.get("subject") or None


async def sum_usage(db: Rows, who: Identity, query: Mapping[str, str]) -> Page[UsageView]:
    """A page of sums by day, model, subject and key, filtered by `from`, `to` (RFC 3339) and `model`."""
    size = paging.limit(query)
    key = paging.decode(query, tuple[date, str, str, str]) or (None, None, None, None)
    rows = await db.fetch(
        SQL.sum_usage,
        visible_subject(who, query),
        _instant(query, "from"),
        _instant(query, "to"),
        query.get("model") or None,
        *key,
        size + 1,
    )
    page = paging.cut(rows, size, lambda row: (row["day"], row["model_name"], row["subject"], row["key"]))
    return Page([usage_view(row) for row in page.items], page.next_cursor)


def _instant(query: Mapping[str, str], name: str) -> datetime | None:
    if name not in query:
        return None
    try:
        return aware(query[name])
    except ValueError as error:
        raise BadRequest(f"{name} is a time as in RFC 3339, such as 2026-01-31T00:00:00Z: {error}") from error


def aware(text: str) -> datetime:
    """An RFC 3339 time. Raises ValueError, also for a time without an offset: it would mean the server's clock."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC")
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text!r} is before the year 1 or after 9999 in UTC") from error


async def store(unit: Unit, event: CloudEvent, namespace: str) -> None:
    """Store the records of a `usage.recorded` event. Raises Reject for one that cannot be counted.

    Where the server's rollout is under way, its gates are looked at with the new figures: `rollout.measured` leaves.
    """
    batch = event.decode(UsageRecorded)
    rows = [_row(batch.server, position, record) for position, record in enumerate(batch.records)]
    if not rows:
        return
    # The server before its rollout, as everybody does who locks both.
    if batch.memory_mb is not None and batch.cpu_percent is not None:
        measured = (_bounded(batch.memory_mb), round(_bounded(batch.cpu_percent), 1))
        await unit.connection.execute(SQL.note_consumption, namespace, batch.server, *measured)
    columns = [list(column) for column in zip(*rows, strict=True)]
    await unit.connection.execute(SQL.add_usage, event.source, event.id, *columns)
    for rollout in await unit.connection.fetch(SQL.note_measured, namespace, batch.server):
        unit.emit(RolloutMeasured(rollout["uuid"]))


def _bounded(figure: float) -> float:
    """A figure for people: what cannot be is no reason to lose the usage beside it."""
    return min(max(figure, 0), _MAX_INT)


def _row(server: str, position: int, record: UsageRecord) -> tuple[object, ...]:
    """A record in the column order of add_usage."""
    _require_range(record)
    try:
        started_at = aware(record.started_at)
    except ValueError as error:
        raise Reject(f"started_at is not a time as in RFC 3339: {error}") from error
    return (
        position,
        record.request_id,
        server,
        record.model_name,
        record.subject,
        record.key_id,
        record.prompt_tokens,
        record.completion_tokens,
        started_at,
        record.duration_ms,
        record.status,
        record.streamed,
        record.revision or None,
        record.first_token_ms,
    )


def _require_range(record: UsageRecord) -> None:
    bounds = {
        "prompt_tokens": _MAX_BIGINT,
        "completion_tokens": _MAX_BIGINT,
        "duration_ms": _MAX_INT,
        "status": _MAX_INT,
        "first_token_ms": _MAX_INT,
    }
    for name, largest in bounds.items():
        number = getattr(record, name)
        if number is not None and not 0 <= number <= largest:
            raise Reject(f"{name} of request {record.request_id} is not a number from 0 to {largest}")
