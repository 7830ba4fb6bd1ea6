"""How long engines take to start: reports of engines stored once, and figures by revision for people. Called by the routes.

What each figure means is in docs/cold-start.md.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec

from functions.kit.bus import Unit
from functions.kit.db import queries
from functions.kit.events import CloudEvent, EngineStarted
from functions.kit.problem import Reject
from functions.status.deps import Rows
from functions.status.servers import ServerView
from functions.status.usage import aware

SQL: Final = queries(str(Path(__file__)))
# A start longer than a day is a broken clock.
_MAX_MS: Final = 86_400_000


class Phases(msgspec.Struct, frozen=True):
    """Milliseconds, one after the other; their sum is what a caller waited for. Null for what is not known.

    schedule: from the cluster's decision to the engine's process. fetch: until every byte of the model is here and
    verified. load: until the weights are in the engine. ready: until it takes calls.
    """

    schedule_ms: int | None
    fetch_ms: int | None
    load_ms: int | None
    ready_ms: int | None


class ColdStarts(msgspec.Struct, frozen=True):
    """The starts of one revision, a hundred at most: the last one, and the middle of each phase."""

    revision: str
    starts: int
    last_at: datetime
    last: Phases
    median: Phases


class ServerDetail(ServerView, frozen=True):
    """One server with the cold starts of its revisions, the latest first."""

    cold_starts: Sequence[ColdStarts] = ()


async def detailed(db: Rows, server: ServerView) -> ServerDetail:
    """The server with its starts."""
    rows = await db.fetch(SQL.list_cold_starts, server.name)
    return ServerDetail(**msgspec.structs.asdict(server), cold_starts=by_revision(rows))


def by_revision(rows: Sequence[Mapping[str, Any]]) -> Sequence[ColdStarts]:
    """Rows of list_cold_starts, which are the latest first, as one entry a revision. Pure."""
    latest: dict[str, int] = {}
    for position, row in enumerate(rows):
        latest.setdefault(row["revision"], position)
    ordered = sorted(rows, key=lambda row: latest[row["revision"]])
    return [_summed(revision, list(starts)) for revision, starts in groupby(ordered, key=lambda row: row["revision"])]


def _summed(revision: str, rows: Sequence[Mapping[str, Any]]) -> ColdStarts:
    each = [phases(row) for row in rows]
    middle = {name: _middle([getattr(one, name) for one in each]) for name in Phases.__struct_fields__}
    return ColdStarts(revision, len(each), rows[0]["began_at"], each[0], Phases(**middle))


def phases(row: Mapping[str, Any]) -> Phases:
    """The moments of one start as the time between them. Pure."""
    fetched, loaded, ready = row["fetched_ms"], row["loaded_ms"], row["ready_ms"]
    return Phases(
        row["schedule_ms"],
        fetched,
        None if loaded is None else max(0, loaded - (fetched or 0)),
        max(0, ready - (loaded or fetched or 0)),
    )


def _middle(figures: Sequence[int | None]) -> int | None:
    known = [figure for figure in figures if figure is not None]
    return round(median(known)) if known else None


async def store(unit: Unit, event: CloudEvent) -> None:
    """Store an `engine.started` event. Raises Reject for figures that cannot be."""
    start = event.decode(EngineStarted)
    moments = (start.fetched_ms, start.loaded_ms, start.ready_ms)
    if not all(moment is None or 0 <= moment <= _MAX_MS for moment in moments):
        raise Reject(f"a start takes from 0 to {_MAX_MS} ms, not {moments}")
    try:
        began_at = aware(start.began_at)
    except ValueError as error:
        raise Reject(f"began_at is not a time as in RFC 3339: {error}") from error
    await unit.connection.execute(SQL.add_cold_start, event.id, start.server, start.revision, began_at, *moments)
