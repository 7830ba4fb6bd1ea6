"""One table of behaviours for the simulation's database and for PostgreSQL: the stand-in may stand in only while both pass.

The file is long because it is one table: every behaviour that a statement relies on, each a few lines.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from functions.kit.bus import SQL
from kn_model.local.data.postgres import Postgres
from kn_model.local.eventing.cloudevent import CloudEvent
from kn_model.local.eventing.ledger import Accepted, Ledger, LedgerDown
from tests.conformance.stores import Database, in_memory, real
from tests.integration.conftest import database_url, migrated, servers

__all__ = ["database_url", "servers"]

SOURCE = "/torpor/test"
DAY_S = 86400.0
# Longer than any statement here takes that need not wait.
HELD_S = 0.1
# Of whatever should come at last.
WITHIN_S = 30


@pytest.fixture(scope="session")
def postgres_server(servers: Path) -> Iterator[Postgres]:
    """A server that is killed here, and keeps what it committed."""
    yield from migrated(Postgres(servers / "postgres", servers / "postgres.log", say=lambda _: None))


@pytest.fixture(params=["in memory", "PostgreSQL"])
def place(request: pytest.FixtureRequest) -> tuple[Postgres, str] | None:
    """A real server with a database of this test, or None for the stand-in."""
    if request.param == "in memory":
        return None
    return request.getfixturevalue("postgres_server"), request.getfixturevalue("database_url")


@pytest.fixture
async def database(place: tuple[Postgres, str] | None) -> AsyncIterator[Database]:
    """A database with empty tables."""
    if place is None:
        yield in_memory()
        return
    async with real(*place) as opened:
        yield opened


async def _add(to: Any, *ids: str, lease_s: float = -1.0) -> None:
    """Rows of the outbox; a negative lease has run out."""
    count = len(ids)
    kinds, subjects = ["t"] * count, [f"of {each}" for each in ids]
    await to.execute(SQL.add_events, list(ids), SOURCE, kinds, subjects, ['{"actor":"ann"}'] * count, ['{"b": 1,"a":2}'] * count, lease_s)  # fmt: skip


async def _claim(on: Any, limit: int = 10, lease_s: float = 60.0) -> list[str]:
    return sorted(row["id"] for row in await on.fetch(SQL.claim_events, SOURCE, limit, lease_s))


async def _mark(on: Any, id_: str) -> bool:
    return bool(await on.fetch(SQL.mark_processed, "c", "s", id_))


async def test_a_mark_is_made_once(database: Database) -> None:
    """The second mark of one event finds the first."""
    assert [True, False] == [await _mark(database.pool, "e"), await _mark(database.pool, "e")]
    assert len(await database.pool.fetch(SQL.is_processed, "c", "s", "e")) == 1
    assert await database.pool.fetch(SQL.is_processed, "c", "s", "other") == []


@pytest.mark.parametrize(("first_commits", "second_marks"), [(True, False), (False, True)])
async def test_a_mark_waits_for_another_of_the_same_event(
    database: Database, *, first_commits: bool, second_marks: bool
) -> None:
    """Two handlers of one event: the second waits for the first, and works only if the first came to nothing."""
    marked, go_on = asyncio.Event(), asyncio.Event()

    async def mark_and_hold(connection: Any) -> None:
        async with connection.transaction():
            assert await _mark(connection, "e")
            marked.set()
            await go_on.wait()
            if not first_commits:
                raise ValueError

    async with database.pool.acquire() as first, asyncio.timeout(WITHIN_S):
        transaction = asyncio.ensure_future(mark_and_hold(first))
        await marked.wait()
        waiting = asyncio.ensure_future(_mark(database.pool, "e"))
        await asyncio.sleep(HELD_S)
        assert not waiting.done()
        go_on.set()
        await asyncio.gather(transaction, return_exceptions=True)
        assert second_marks == await waiting


async def test_what_is_not_committed_is_not_there(database: Database) -> None:
    """Nobody else sees the rows of an open transaction; a rollback leaves none."""

    async def add_and_fail() -> None:
        async with database.pool.acquire() as connection, connection.transaction():
            await _add(connection, "a")
            assert await _claim(database.pool) == []
            assert await _claim(connection) == ["a"]
            raise ValueError("roll back")

    with pytest.raises(ValueError, match="roll back"):
        await add_and_fail()
    assert await _claim(database.pool) == []


async def test_a_writer_holds_its_rows_until_its_lease_ends(database: Database) -> None:
    """Leased rows are nobody else's, those whose lease has run out are anybody's."""
    await _add(database.pool, "leased", lease_s=60.0)
    await _add(database.pool, "free")
    assert await _claim(database.pool) == ["free"]
    assert await _claim(database.pool) == []


async def test_a_claim_takes_what_is_due_longest(database: Database) -> None:
    """In the order of due times, as many as were asked for, with what the sender needs."""
    for id_, lease_s in (("c", -1.0), ("a", -3.0), ("b", -2.0)):
        await _add(database.pool, id_, lease_s=lease_s)
    assert [["a", "b"], ["c"]] == [await _claim(database.pool, 2), await _claim(database.pool, 2)]
    await _add(database.pool, "d")
    (row,) = await database.pool.fetch(SQL.claim_events, SOURCE, 9, 60.0)
    expected = {"key": "d", "id": "d", "source": SOURCE, "type": "t", "subject": "of d", "extensions": {"actor": "ann"}}
    assert expected | {"body": b'{"b": 1,"a":2}', "redriven": False} == dict(row)


async def test_claims_at_once_share_the_rows(database: Database) -> None:
    """SKIP LOCKED: who comes second takes what the first does not hold, without waiting."""
    await _add(database.pool, "a", lease_s=-2.0)
    await _add(database.pool, "b")
    async with database.pool.acquire() as first, first.transaction():
        assert await _claim(first, 1) == ["a"]
        assert await _claim(database.pool) == ["b"]


async def test_what_was_accepted_is_gone(database: Database) -> None:
    """And only that."""
    await _add(database.pool, "a", "b")
    await database.pool.execute(SQL.remove_events, ["a", "never there"])
    assert await _claim(database.pool) == ["b"]


async def test_what_is_never_taken_is_buried(database: Database) -> None:
    """And only that."""
    await _add(database.pool, "a", "b")
    await database.pool.execute(SQL.bury_events, ["a", "never there"], ["{}"] * 2, ["dest"] * 2, [400] * 2, ["no"] * 2)
    assert await _claim(database.pool) == ["b"]


@pytest.mark.parametrize(
    ("backoff_s", "cap_s", "is_due"), [(0.0, 60.0, True), (5.0, 60.0, False), (5.0, 0.0, True)], ids=str
)
async def test_what_was_refused_waits(database: Database, *, backoff_s: float, cap_s: float, is_due: bool) -> None:
    """For its back-off, and not longer than the cap."""
    await _add(database.pool, "a")
    await database.pool.execute(SQL.postpone_events, ["a"], backoff_s, cap_s, "down")
    assert is_due == (await _claim(database.pool) == ["a"])


@pytest.mark.parametrize(("seconds", "is_due"), [(-DAY_S, True), (-30.0, False), (DAY_S, True)])
async def test_a_clock_that_jumps_ends_leases_early_and_never_late(
    database: Database, *, seconds: float, is_due: bool
) -> None:
    """A lease from a future that is no more is no lease."""
    await _add(database.pool, "a", lease_s=60.0)
    await database.set_clock(seconds)
    assert is_due == (await _claim(database.pool) == ["a"])


async def test_a_writer_waits_for_the_row_and_sees_it_as_it_became(database: Database) -> None:
    """An update behind another works on the other's result."""
    await _add(database.pool, "a")
    async with database.pool.acquire() as first:
        async with first.transaction():
            await first.execute(SQL.remove_events, ["a"])
            waiting = asyncio.ensure_future(database.pool.execute(SQL.postpone_events, ["a"], 0.0, 0.0, "down"))
            await asyncio.sleep(HELD_S)
            assert not waiting.done()
        await waiting
    assert await _claim(database.pool) == []


async def test_a_deadlock_is_told_to_one_of_the_two(database: Database) -> None:
    """Neither waits for ever: one gets an error, the other its row."""
    await _add(database.pool, "a", "b")
    each_has_one = asyncio.Barrier(2)

    async def remove(first: str, second: str) -> None:
        async with database.pool.acquire() as connection, connection.transaction():
            await connection.execute(SQL.remove_events, [first])
            await each_has_one.wait()
            await connection.execute(SQL.remove_events, [second])

    async with asyncio.timeout(WITHIN_S):
        outcomes = await asyncio.gather(remove("a", "b"), remove("b", "a"), return_exceptions=True)
    assert [None, asyncpg.DeadlockDetectedError] == sorted(
        (None if each is None else type(each) for each in outcomes), key=str
    )[::-1]


async def test_old_marks_are_forgotten(database: Database) -> None:
    """Of this consumer, and no younger ones."""
    await _mark(database.pool, "young")
    await database.pool.execute(SQL.forget_processed, "c")
    assert len(await database.pool.fetch(SQL.is_processed, "c", "s", "young")) == 1


async def test_a_crash_keeps_what_was_committed(database: Database) -> None:
    """An immediate stop: the committed row is there afterwards, the open transaction's is not, and its session says so."""
    await _add(database.pool, "committed")

    async def crash_in_between() -> None:
        async with database.pool.acquire() as connection, connection.transaction():
            await _add(connection, "open")
            await database.crash()
            await _add(connection, "afterwards")

    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError)):
        await crash_in_between()
    assert await _claim(database.pool) == ["committed"]


def _ledger(database: Database) -> Ledger:
    return Ledger(database.plain)


def _event(id_: str) -> CloudEvent:
    return CloudEvent({"id": id_, "source": "s", "type": "t", "specversion": "1.0"}, b"data")


async def _accept(ledger: Ledger, id_: str, *triggers: str, in_hand: Sequence[str] = ()) -> Sequence[Any]:
    return await ledger.accept(Accepted(_event(id_), triggers, 255, {"prefer": "x"}, in_hand))


async def _ids(ledger: Ledger, trigger: str = "a", limit: int = 10) -> list[str]:
    return sorted(each.event.attributes["id"] for each in await ledger.claim(trigger, limit))


async def test_an_event_is_owed_to_each_trigger(database: Database) -> None:
    """Whole, and to each until that one has had it."""
    ledger = _ledger(database)
    await ledger.open(alone=True)
    await _accept(ledger, "1", "a", "b")
    (claimed,) = await ledger.claim("a", 10)
    assert (_event("1"), 255, {"prefer": "x"}, 0, None) == (
        CloudEvent(dict(claimed.event.attributes), claimed.event.data),
        claimed.hops,
        dict(claimed.headers),
        claimed.failures,
        claimed.error,
    )
    await ledger.finish(claimed)
    assert {"b"} == (await ledger.waits()).keys()
    assert await _ids(ledger, "b") == ["1"]


async def test_what_is_in_hand_is_nobody_elses(database: Database) -> None:
    """From birth where the worker takes it at once; until the lease ends otherwise."""
    ledger, other = _ledger(database), _ledger(database)
    await ledger.open(alone=True)
    assert len(await _accept(ledger, "1", "a", in_hand=["a"])) == 1
    await _accept(ledger, "2", "a")
    assert [["2"], [], []] == [await _ids(ledger), await _ids(ledger), await _ids(other)]
    assert 10.0 < (await ledger.waits())["a"] <= 15.0


async def test_a_start_takes_over_what_a_killed_dispatcher_had(database: Database) -> None:
    """Where nobody else can be at work; otherwise the lease decides."""
    await _ledger(database).open(alone=True)
    await _accept(_ledger(database), "1", "a", in_hand=["a"])
    await _ledger(database).open(alone=False)
    assert await _ids(_ledger(database)) == []
    await _ledger(database).open(alone=True)
    assert await _ids(_ledger(database)) == ["1"]


async def test_a_failed_attempt_comes_again(database: Database) -> None:
    """After its pause, with its failures and with what the dead letter sink is to be told."""
    ledger = _ledger(database)
    await ledger.open(alone=True)
    await _accept(ledger, "1", "a")
    (first,) = await ledger.claim("a", 1)
    await ledger.postpone(first, 3, {"knativeerrorcode": "500"}, 0.0)
    (again,) = await ledger.claim("a", 1)
    assert (3, {"knativeerrorcode": "500"}) == (again.failures, dict(again.error or {}))
    await ledger.postpone(again, 4, None, 60.0)
    assert await _ids(ledger) == []


async def test_who_lost_its_lease_postpones_nothing(database: Database) -> None:
    """The other dispatcher has it in hand by now."""
    ledger, other = _ledger(database), _ledger(database)
    await ledger.open(alone=True)
    await _accept(ledger, "1", "a")
    (mine,) = await ledger.claim("a", 1)
    await database.set_clock(60.0)
    assert await _ids(other) == ["1"]
    await ledger.postpone(mine, 1, None, 0.0)
    assert await _ids(ledger) == []


async def test_a_lease_that_is_renewed_goes_on(database: Database) -> None:
    """What is not renewed does not."""
    ledger = _ledger(database)
    await ledger.open(alone=True)
    await _accept(ledger, "kept", "a")
    (kept,) = await ledger.claim("a", 1)
    await _accept(ledger, "left", "a")
    await ledger.claim("a", 1)
    await database.set_clock(12.0)
    await ledger.renew([kept])
    await database.set_clock(12.0)
    assert await _ids(_ledger(database)) == ["left"]


async def test_a_clock_set_back_delays_no_delivery(database: Database) -> None:
    """What was due in a future that is no more is due."""
    ledger = _ledger(database)
    await ledger.open(alone=True)
    await _accept(ledger, "1", "a")
    await database.set_clock(-DAY_S)
    assert await _ids(ledger) == []
    assert {"a": 0.0} == await ledger.waits()
    assert await _ids(ledger) == ["1"]


async def test_a_trigger_that_is_gone_is_owed_nothing(database: Database) -> None:
    """And the others keep theirs."""
    ledger = _ledger(database)
    await ledger.open(alone=True)
    await _accept(ledger, "1", "a", "b")
    await ledger.forget("a")
    waits: Mapping[str, float] = await ledger.waits()
    assert ["b"] == list(waits)


async def test_a_row_of_a_batch_that_cannot_be_kept_keeps_none(database: Database) -> None:
    """All or nothing: the same id twice."""
    same = uuid.UUID(int=7)
    ledger = Ledger(database.plain, lambda: same)
    await ledger.open(alone=True)
    await _accept(ledger, "1", "a")
    with pytest.raises((LedgerDown, asyncpg.UniqueViolationError)):
        await _accept(ledger, "2", "b", "c")
    assert {"a"} == (await ledger.waits()).keys()
