"""The laptop's broker in trouble: bugs, lost answers, clocks that jump, two dispatchers, a PostgreSQL that dies.

The file is long because each trouble is its own story around the same broker; each test is short.
"""

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web

from kn_model.local.data.postgres import Postgres
from kn_model.local.eventing.cloudevent import CloudEvent
from kn_model.local.eventing.delivery import Answer
from kn_model.local.eventing.ledger import Accepted, Claimed, Ledger, LedgerDown
from kn_model.local.eventing.sender import Send
from kn_model.local.follow import on_change
from kn_model.local.objects import kinds
from kn_model.local.objects.storage import MemoryStorage
from kn_model.local.objects.store import ObjectStore
from tests.integration.broker_stage import DELIVERY, EVENT, WAIT_S, Stage, Subscribers, running

LETTERS = {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "letters"}}
LATER = "UPDATE broker.owed SET due_at = due_at + interval '1 day', scheduled_at = scheduled_at + interval '1 day'"
EARLIER = LATER.replace("+", "-")


@pytest.fixture
async def stage(empty_database: str) -> AsyncIterator[Stage]:
    """A running broker without triggers."""
    async with running(empty_database, Subscribers()) as started:
        yield started


class Troubled(Ledger):
    """A ledger that fails at what is in `trouble`, one error at a time."""

    trouble: Mapping[str, list[Exception]] = {}

    def _meet(self, what: str) -> None:
        if waiting := self.trouble.get(what):
            raise waiting.pop(0)

    async def claim(self, trigger: str, limit: int) -> Sequence[Claimed]:
        """As the ledger, unless there is trouble."""
        self._meet("claim")
        return await super().claim(trigger, limit)

    async def finish(self, claimed: Claimed) -> None:
        """As the ledger, unless there is trouble."""
        self._meet("finish")
        await super().finish(claimed)

    async def waits(self) -> Mapping[str, float]:
        """As the ledger, unless there is trouble."""
        self._meet("waits")
        return await super().waits()


@pytest.mark.parametrize("what", ["claim", "waits"])
@pytest.mark.parametrize("error", [RuntimeError("a bug"), LedgerDown("away"), asyncpg.SyntaxOrAccessError("what?")])
async def test_a_trigger_is_served_on_whatever_its_worker_met(empty_database: str, what: str, error: Exception) -> None:
    """An error that nobody thought of is told in the log, and the events come all the same."""

    def troubled(pool: "asyncpg.Pool[Any]") -> Ledger:
        made = Troubled(pool)
        made.trouble = {what: [error]}
        return made

    async with running(empty_database, Subscribers(), ledger=troubled) as stage:
        await stage.subscribe("one", "a.happened")
        assert await stage.publish("a.happened") == 202
        await stage.subscribers.until("one", 1)
        await stage.drained()


async def test_a_delivery_whose_end_met_a_bug_is_made_again(empty_database: str) -> None:
    """Its row is not kept in hand by anybody: it comes due, and that is the end of it."""

    def troubled(pool: "asyncpg.Pool[Any]") -> Ledger:
        made = Troubled(pool)
        made.trouble = {"finish": [RuntimeError("a bug")]}
        return made

    async with running(empty_database, Subscribers(), ledger=troubled) as stage:
        await stage.subscribe("one", "a.happened")
        await stage.publish("a.happened")
        await stage.subscribers.until("one", 1)
        await stage.pool.execute("UPDATE broker.owed SET due_at = now()")  # the lease, sooner
        await stage.drained()
        assert len(stage.subscribers.of("one")) == 2


async def test_a_reply_is_kept_once_however_often_its_end_is_recorded(empty_database: str) -> None:
    """A database that goes away between the reply and the end of what it answers does not double the reply."""

    def troubled(pool: "asyncpg.Pool[Any]") -> Ledger:
        made = Troubled(pool)
        made.trouble = {"finish": [LedgerDown("away")]}
        return made

    async def replies(_: web.Request) -> web.Response:
        return web.Response(headers={**EVENT, "ce-type": "b.happened"})

    async with running(empty_database, Subscribers({"one": replies}), ledger=troubled) as stage:
        await stage.subscribe("one", "a.happened")
        await stage.subscribe("two", "b.happened")
        await stage.publish("a.happened")
        await stage.drained()
        assert (len(stage.subscribers.of("one")), len(stage.subscribers.of("two"))) == (1, 1)


async def test_a_bug_in_sending_is_a_failed_attempt(empty_database: str) -> None:
    """Poison for the broker itself goes the way of all poison: to the dead letters; its neighbours arrive."""

    def around(send: Send) -> Send:
        async def poisoned(url: str, event: CloudEvent, headers: Mapping[str, str], timeout_s: float | None) -> Answer:
            if event.attributes["id"] == "poison" and "knativeerrordest" not in event.attributes:
                raise RuntimeError("a bug")
            return await send(url, event, headers, timeout_s)

        return poisoned

    async with running(empty_database, Subscribers(), around=around) as stage:
        await stage.subscribe("one", "a.happened", {**DELIVERY, "deadLetterSink": LETTERS})
        await stage.publish("a.happened", "poison")
        await stage.publish("a.happened", "food")
        (letter,) = await stage.subscribers.until("letters", 1)
        await stage.drained()
        assert (letter["ce-id"], letter["ce-knativeerrorcode"]) == ("poison", "500")
        assert [call["ce-id"] for call in stage.subscribers.of("one")] == ["food"]


async def test_a_claim_whose_answer_is_lost_comes_due_again(stage: Stage) -> None:
    """PostgreSQL has done it and the connection broke: nobody has it in hand, so nobody renews it."""
    held = asyncio.Event()

    async def holds(_: web.Request) -> web.Response:
        await held.wait()
        return web.Response(status=204)

    stage.subscribers.behave["one"] = holds
    event = CloudEvent({name[3:]: value for name, value in EVENT.items()}, b"")
    await stage.ledger.accept(Accepted(event, ["torpor/one"], 1, {}))
    (lost,) = await stage.ledger.claim("torpor/one", 10)
    await stage.subscribe("one", "a.happened")
    await stage.publish("a.happened", "in hand")
    await stage.subscribers.until("one", 1)
    await stage.pool.execute("UPDATE broker.owed SET due_at = due_at - interval '6 seconds'")
    await stage.broker._dispatcher._look(alone=True)  # which renews what is in hand
    left = await stage.pool.fetch("SELECT id = $1 AS lost, due_at - now() < '9.5 s' AS old FROM broker.owed", lost.id)
    assert {(row["lost"], row["old"]) for row in left} == {(True, True), (False, False)}
    await stage.pool.execute("UPDATE broker.owed SET due_at = now()")
    held.set()
    await stage.drained()


async def test_a_clock_set_forward_doubles_nothing(stage: Stage) -> None:
    """Every lease has run out; what is in hand is in hand."""
    held = asyncio.Event()

    async def holds(_: web.Request) -> web.Response:
        await held.wait()
        return web.Response(status=204)

    stage.subscribers.behave["one"] = holds
    await stage.subscribe("one", "a.happened")
    await stage.publish("a.happened", "1")
    await stage.subscribers.until("one", 1)
    await stage.pool.execute(EARLIER)
    stage.broker._dispatcher.wake("torpor/one")
    await stage.publish("a.happened", "2")
    await stage.subscribers.until("one", 2)
    held.set()
    await stage.drained()
    assert Counter(call["ce-id"] for call in stage.subscribers.of("one")) == {"1": 1, "2": 1}


async def test_a_clock_set_back_delays_nothing_by_a_day(stage: Stage) -> None:
    """A retry that was due in a second is not due tomorrow."""
    answers = iter([503, 204])

    async def sometimes(_: web.Request) -> web.Response:
        return web.Response(status=next(answers))

    stage.subscribers.behave["one"] = sometimes
    await stage.subscribe("one", "a.happened", {**DELIVERY, "backoffDelay": "PT1S"})
    await stage.publish("a.happened", "1")
    await stage.subscribers.until("one", 1)
    async with asyncio.timeout(WAIT_S):
        while await stage.pool.execute(f"{LATER} WHERE failures = 1") != "UPDATE 1":  # noqa: ASYNC110 - SQL wakes nobody
            await asyncio.sleep(0.01)
    await stage.drained()
    assert len(stage.subscribers.of("one")) == 2


async def test_a_sender_that_hangs_up_delays_nothing(stage: Stage) -> None:
    """What is being kept when its sender goes away is delivered like any other, without waiting for a lease."""
    await stage.subscribe("one", "a.happened")
    await asyncio.sleep(0.2)  # the worker's first claim
    event = CloudEvent({name[3:]: value for name, value in EVENT.items()}, b"")
    call = asyncio.create_task(stage.broker.accept("torpor/default", event, 1, {}))
    await asyncio.sleep(0)
    call.cancel()
    async with asyncio.timeout(4):  # a look would find it after five seconds, a lease end after fifteen
        await stage.subscribers.until("one", 1)


async def test_what_a_removed_trigger_was_owed_goes_with_it(stage: Stage) -> None:
    """Also what is accepted while it goes, and what an earlier run of ours was owed."""

    async def busy(_: web.Request) -> web.Response:
        return web.Response(status=503)

    stage.subscribers.behave["one"] = busy
    event = CloudEvent({name[3:]: value for name, value in EVENT.items()}, b"")
    await stage.ledger.accept(Accepted(event, ["torpor/of-an-earlier-run"], 1, {}))
    await stage.subscribe("one", "a.happened", {**DELIVERY, "backoffDelay": "PT60S"})
    await stage.publish("a.happened")
    await stage.subscribers.until("one", 1)
    await stage.store.delete(kinds.TRIGGER, "torpor", "one")
    await stage.broker._dispatcher._look(alone=True)
    await stage.drained()


async def test_a_trigger_removed_without_a_database_is_forgotten_later(postgres: Postgres) -> None:
    """The database is away when the trigger goes: what it was owed goes when it is back."""

    async def busy(_: web.Request) -> web.Response:
        return web.Response(status=503)

    async with running(postgres.url, Subscribers({"one": busy})) as stage:
        await stage.subscribe("one", "a.happened", {**DELIVERY, "backoffDelay": "PT600S"})
        await stage.publish("a.happened")
        await stage.subscribers.until("one", 1)
        await _immediate_stop(postgres)
        await stage.store.delete(kinds.TRIGGER, "torpor", "one")
        await stage.broker.refresh()
        await postgres.start()
        await stage.drained()


async def test_an_accepted_event_survives_a_database_that_dies(postgres: Postgres) -> None:
    """Three immediate stops under load, nothing delivered before the last: whatever got its 202 arrives, and that is all."""
    accepted: list[str] = []
    done = asyncio.Event()

    async def busy(_: web.Request) -> web.Response:
        return web.Response(status=204 if done.is_set() else 503)

    async def sender(stage: Stage, number: int) -> None:
        for count in range(10_000):
            if done.is_set():
                return
            id_ = f"{number}-{count}"
            if await stage.publish("a.happened", id_) == 202:
                accepted.append(id_)
            else:
                await asyncio.sleep(0.05)

    async with running(postgres.url, Subscribers({"one": busy})) as stage:
        await stage.subscribe("one", "a.happened", {**DELIVERY, "retry": 1000, "backoffPolicy": "linear"})
        senders = [asyncio.create_task(sender(stage, number)) for number in range(4)]
        for _ in range(3):
            await asyncio.sleep(0.7)
            await _immediate_stop(postgres)
            await postgres.start()
        await asyncio.sleep(0.7)
        done.set()
        await asyncio.gather(*senders)
        await stage.drained()
        arrived = {call["ce-id"] for call in stage.subscribers.of("one")}
        assert len(accepted) > 50
        assert set(accepted) <= arrived


async def test_two_dispatchers_share_the_work(empty_database: str) -> None:
    """Side by side on one ledger, each event is delivered once."""
    subscribers = Subscribers()
    async with running(empty_database, subscribers) as first, running(empty_database, subscribers) as second:
        for stage in (first, second):
            await stage.subscribe("one", "a.happened")
        events = [
            CloudEvent({name[3:]: value for name, value in EVENT.items()} | {"id": f"{n}"}, b"") for n in range(300)
        ]
        await asyncio.gather(*(first.ledger.accept(Accepted(event, ["torpor/one"], 1, {})) for event in events))
        for stage in (first, second):
            stage.broker._dispatcher.wake("torpor/one")
        await first.drained()
    assert Counter(call["ce-id"] for call in subscribers.of("one")) == {f"{n}": 1 for n in range(300)}


async def test_no_statement_of_many_rows_waits_for_one_that_another_holds(empty_database: str) -> None:
    """So none can deadlock with another; the rows that are held stay as they are, the others are taken."""
    event = CloudEvent({name[3:]: value for name, value in EVENT.items()}, b"")
    async with asyncpg.create_pool(empty_database, min_size=2, max_size=2) as pool, asyncio.timeout(10):
        ledger = Ledger(pool)
        await ledger.open(alone=True)
        for _ in range(3):
            await ledger.accept(Accepted(event, ["one"], 1, {}, ["one"]))
        await pool.execute(LATER)
        held = await pool.fetchval("SELECT id FROM broker.owed LIMIT 1")
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT FROM broker.owed WHERE id = $1 FOR UPDATE", held)
            assert await ledger.waits() == {"one": 0.0}
            claimed = await ledger.claim("one", 10)
            await ledger.renew([*claimed, replace(claimed[0], id=held)])
            await ledger.forget("one")
            assert (len(claimed), await pool.fetchval("SELECT count(*) FROM broker.owed")) == (2, 1)


async def test_a_bug_of_one_object_does_not_end_the_following_of_all() -> None:
    """Whoever follows the store is told of later changes too."""
    store = ObjectStore(MemoryStorage())
    await store.open()
    called = asyncio.Event()

    async def breaks() -> None:
        called.set()
        raise RuntimeError("a bug")

    following = asyncio.create_task(on_change(store, (kinds.TRIGGER,), breaks))
    await called.wait()
    await asyncio.sleep(0)
    assert not following.done()
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Postgres]:
    """A server of this test's own, to be stopped at will."""
    server = Postgres(tmp_path / "postgres", tmp_path / "postgres.log", say=lambda _: None)
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


async def _immediate_stop(server: Postgres) -> None:
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGQUIT)
    await asyncio.to_thread(server.process.wait)
