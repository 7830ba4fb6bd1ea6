"""What the gates see of a revision's usage: callers who gave up as well, and of very many requests the newest."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from functions.kit.db import Database
from functions.kit.settings import Secret
from functions.serve.records import SQL
from functions.serve.rollout.gates import Measured

NOW = datetime.now(UTC)
_USAGE = (
    "event_source event_id position request_id server_name model_name subject prompt_tokens completion_tokens "
    "started_at duration_ms status streamed revision first_token_ms"
)
# Status, duration and time to first token, in milliseconds.
Call = tuple[int, int, int | None]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database without usage."""
    opened = Database(Secret(database_url))
    yield opened
    await opened.close()


async def _measured(db: Database, calls: Sequence[Call], *, most: int = 100) -> Measured:
    """calls: one a second, the first one first."""
    same = ["r", "smol", "m", "s", 1, 1]
    rows = [
        ["/test", "e", place, *same, NOW + timedelta(seconds=place), duration, status, True, "smol-00002", first]
        for place, (status, duration, first) in enumerate(calls)
    ]
    async with db.connection() as connection:
        await connection.copy_records_to_table("usage", records=rows, columns=_USAGE.split())
    since = NOW + timedelta(seconds=len(calls) - 1)
    return Measured(**await db.fetchrow(SQL.measure_revision, "smol-00002", NOW - timedelta(hours=1), since, most))


@pytest.mark.parametrize(
    ("calls", "measured"),
    [
        pytest.param([(200, 9, 5), (200, 7, None)], Measured(2, 0, 1, 2, 7), id="answers"),
        pytest.param([(200, 9, 5), (400, 9, None), (429, 9, None)], Measured(1, 0, 0, 1, 5), id="the caller's fault"),
        pytest.param([(200, 9, 5), (503, 9, None)], Measured(2, 1, 1, 1, 5), id="an error"),
        pytest.param([(200, 9, 5), (499, 60_000, None)], Measured(2, 1, 1, 2, 60_000), id="nobody waits so long"),
        pytest.param([(200, 9, 5), (499, 60_000, 6)], Measured(2, 0, 1, 2, 6), id="enough was read"),
    ],
)
async def test_what_counts(database: Database, calls: Sequence[Call], measured: Measured) -> None:
    """By table. Requests, errors, those of the step, first tokens and their p95."""
    assert await _measured(database, calls) == measured


async def test_of_very_many_the_newest_count(database: Database) -> None:
    """A server that was called for an hour is looked at as quickly as one that was called for a minute."""
    calls: list[Call] = [(500, 9, None)] * 5 + [(200, 9, 5)] * 3
    assert await _measured(database, calls, most=4) == Measured(4, 1, 1, 3, 5)
