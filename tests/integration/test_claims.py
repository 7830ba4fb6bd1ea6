"""A claim takes at most as many rows as it asked for, whatever plan PostgreSQL chooses.

`UPDATE … WHERE id IN (SELECT … LIMIT n FOR UPDATE SKIP LOCKED)` does not promise that: in a nested loop the subquery runs
once per row and skips what it has locked already, so that more than n rows are taken. Which plan is chosen depends on
statistics; here the planner has no other choice.
"""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from functions.kit import bus
from kn_model.local.eventing.cloudevent import CloudEvent
from kn_model.local.eventing.ledger import Accepted, Ledger

ROWS = 40
LIMIT = 5
NESTED_LOOPS = {f"enable_{name}": "off" for name in ("hashjoin", "mergejoin", "material", "memoize", "hashagg", "sort")}


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator["asyncpg.Pool[Any]"]:
    """Connections whose planner can only nest loops."""
    async with asyncpg.create_pool(database_url, min_size=1, max_size=2, server_settings=NESTED_LOOPS) as opened:
        yield opened


async def test_the_ledger_claims_no_more_than_it_is_asked_for(pool: "asyncpg.Pool[Any]") -> None:
    """The broker's worker has room for so many deliveries and no more."""
    ledger = Ledger(pool)
    await ledger.open(alone=True)
    for number in range(ROWS):
        event = CloudEvent({"specversion": "1.0", "id": f"{number}", "source": "/t", "type": "t"}, b"")
        await ledger.accept(Accepted(event, ["torpor/first"], 1, {}))
    await pool.execute("ANALYZE broker.owed")
    assert LIMIT == len(await ledger.claim("torpor/first", LIMIT))


async def test_the_outbox_claims_no_more_than_it_is_asked_for(pool: "asyncpg.Pool[Any]") -> None:
    """One tick sends one batch at a time."""
    await pool.execute(
        "INSERT INTO outbox (id, source, type, subject, data) SELECT n::text, '/t', 't', 's', '{}' FROM generate_series(1, $1) n",
        ROWS,
    )
    await pool.execute("ANALYZE outbox")
    assert LIMIT == len(await pool.fetch(bus.SQL.claim_events, "/t", LIMIT, 15.0))
