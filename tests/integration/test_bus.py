"""The bus on a real PostgreSQL: nothing lost, nothing twice.

The file is long because every promise of the bus stands on the same three fixtures.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping

import httpx
import pytest
from starlette.routing import Route

from functions.kit import app, bus, events, trace
from functions.kit.bus import BeingProcessed, Bus, Duplicate
from functions.kit.db import Database
from functions.kit.events import CloudEvent, FileRequested, ModelDeleted, ModelRequested
from functions.kit.problem import Conflict, Retry
from functions.kit.publisher import PublishError, Unacceptable
from functions.kit.settings import Secret
from tests.deliveries import KEYRING, TRUST, delivered

CAUSE = CloudEvent("e1", "/torpor/test", ModelRequested.TYPE, "m1", {"actor": "ann"}, b"{}")


class Broker:
    """Remembers what it accepted; refuses while it is down."""

    def __init__(self) -> None:
        self.accepted: list[CloudEvent] = []
        self.up = True
        # The subject of an event that it never takes.
        self.refused = ""

    async def __call__(self, headers: Mapping[str, str], data: bytes) -> None:
        """Accept one event, or raise as a Broker that is down."""
        event = events.parse(headers, data)
        if not self.up or event.subject == self.refused:
            raise PublishError("down")
        self.accepted.append(event)


@pytest.fixture
def broker() -> Broker:
    """A Broker that listens."""
    return Broker()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The test's own database."""
    opened = Database(Secret(database_url))
    yield opened
    await opened.close()


@pytest.fixture
def the_bus(database: Database, broker: Broker) -> Bus:
    """A bus of one function."""
    return Bus(database, "/torpor/test", broker, KEYRING)


async def _left(database: Database) -> int:
    return int(await database.fetchval("SELECT count(*) FROM outbox"))


async def _due_now(database: Database) -> None:
    await database.execute("UPDATE outbox SET due_at = now()")


async def test_events_leave_after_the_commit(the_bus: Bus, broker: Broker, database: Database) -> None:
    """The Broker has the event and the outbox has it no more."""
    async with the_bus.transaction(actor="ann") as unit:
        unit.emit(ModelRequested("m1"))
        assert [] == broker.accepted
    assert [("m1", "ann", b'{"model_uuid":"m1"}')] == [(e.subject, e.actor, e.data) for e in broker.accepted]
    assert await _left(database) == 0


async def test_a_rollback_sends_nothing(the_bus: Bus, broker: Broker, database: Database) -> None:
    """State and events live or die together."""

    async def change_and_fail() -> None:
        async with the_bus.transaction() as unit:
            unit.emit(ModelRequested("m1"))
            raise Conflict

    with pytest.raises(Conflict):
        await change_and_fail()
    assert ([], 0) == (broker.accepted, await _left(database))


async def test_a_broker_that_is_down_delays_and_loses_nothing(the_bus: Bus, broker: Broker, database: Database) -> None:
    """The row stays with its reason; a later tick sends it under the same id."""
    broker.up = False
    async with the_bus.transaction() as unit:
        unit.emit(ModelRequested("m1"))
    kept = await database.fetchrow("SELECT id, last_error FROM outbox")
    broker.up = True
    await _due_now(database)
    assert await the_bus.resend() == 1
    assert ("down", [kept["id"]], 0) == (kept["last_error"], [e.id for e in broker.accepted], await _left(database))


class Wire:
    """Remembers what was sent, headers and bytes, and accepts it after `failures` refusals."""

    def __init__(self, failures: int = 0) -> None:
        self.sent: list[tuple[dict[str, str], bytes]] = []
        self.failures = failures

    async def __call__(self, headers: Mapping[str, str], data: bytes) -> None:
        """Send one event."""
        self.sent.append((dict(headers), data))
        if self.failures:
            self.failures -= 1
            raise PublishError("down")


async def test_an_event_is_the_same_every_time_it_is_sent(database: Database) -> None:
    """Byte for byte, with its signature: a receiver that had it can tell, and one that checks it believes it."""
    wire = Wire(failures=1)
    sender = Bus(database, "/torpor/test", wire, KEYRING)
    async with sender.transaction(actor="ann") as unit:
        unit.emit(FileRequested("m1", "a/é.bin", 7), modelname="smol")
    await _due_now(database)
    assert await sender.resend() == 1
    first, second = wire.sent
    assert (first, b'{"model_uuid":"m1","path":"a/\xc3\xa9.bin","slice_number":7,"helper":0}') == (second, first[1])
    assert KEYRING.verifies(events.parse(*first))


async def test_a_row_of_an_older_release_is_sent_too(the_bus: Bus, broker: Broker, database: Database) -> None:
    """It has no bytes of its own; its JSON is what it says."""
    await database.execute(
        "INSERT INTO outbox (id, source, type, subject, data) VALUES ('old', '/torpor/test', $1, 'm1', $2)",
        ModelRequested.TYPE,
        {"model_uuid": "m1"},
    )
    assert await the_bus.resend() == 1
    (event,) = broker.accepted
    assert (ModelRequested("m1"), True) == (event.decode(ModelRequested), KEYRING.verifies(event))


async def test_a_redriven_event_leaves_as_it_came(database: Database) -> None:
    """Same source, id, attributes and bytes; and no signature that it did not have: it may have been refused for that."""
    wire = Wire()
    await database.execute(
        "INSERT INTO outbox (id, source, event_source, type, subject, extensions, data, body) "
        "VALUES ('e1', '/torpor/test', '/torpor/download', $1, 'm1', $2, '{}', $3)",
        ModelRequested.TYPE,
        {"actor": "ann"},
        b'{ "model_uuid" : "m1" }',
    )
    assert await Bus(database, "/torpor/test", wire, KEYRING).resend() == 1
    came = events.headers("e1", "/torpor/download", ModelRequested.TYPE, "m1", {"actor": "ann"})
    assert [(came, b'{ "model_uuid" : "m1" }')] == wire.sent


async def test_what_the_broker_refuses_stops_nobody(the_bus: Bus, broker: Broker, database: Database) -> None:
    """A row that is refused again is due later; those behind it, in the next batch as well, leave in the same call."""
    broker.up = False
    async with the_bus.transaction() as unit:
        for number in range(bus.BATCH + 1):
            unit.emit(ModelRequested(f"m{number}"))
    broker.up = True
    broker.refused = "m0"
    await database.execute(
        "UPDATE outbox SET due_at = now() - interval '1 s' * (CASE subject WHEN 'm0' THEN 2 ELSE 1 END)"
    )
    assert (bus.BATCH, 1) == (await the_bus.resend(), await _left(database))


async def test_a_row_in_flight_is_not_sent_by_another(the_bus: Bus, broker: Broker, database: Database) -> None:
    """The writer holds a lease: a tick at the same moment leaves its rows alone."""
    broker.up = False
    async with the_bus.transaction() as unit:
        unit.emit(ModelRequested("m1"))
    await database.execute("UPDATE outbox SET due_at = now() + interval '10 seconds'")
    broker.up = True
    assert await the_bus.resend() == 0


async def test_a_clock_that_was_set_back_delays_nothing(the_bus: Bus, broker: Broker, database: Database) -> None:
    """Rows that were due soon are due in a day once the server's clock is corrected by one: they are sent now."""
    broker.up = False
    async with the_bus.transaction() as unit:
        unit.emit(ModelRequested("m1"))
    await database.execute("UPDATE outbox SET due_at = now() + interval '1 day'")
    broker.up = True
    assert await the_bus.resend() == 1


async def test_two_ticks_at_once_send_each_row_once(broker: Broker, database: Database, the_bus: Bus) -> None:
    """Claims are row locks: two publishers share the rows."""
    broker.up = False
    async with the_bus.transaction() as unit:
        for number in range(300):
            unit.emit(ModelRequested(f"m{number}"))
    broker.up = True
    await _due_now(database)
    await asyncio.gather(the_bus.resend(), Bus(database, "/torpor/test", broker, KEYRING).resend())
    assert sorted(e.subject for e in broker.accepted) == sorted(f"m{number}" for number in range(300))


async def test_a_duplicate_does_nothing(the_bus: Bus, broker: Broker) -> None:
    """The second delivery of one (source, id) finds the mark of the first."""
    async with the_bus.transaction(CAUSE) as unit:
        unit.emit(ModelDeleted("m1"))
    with pytest.raises(Duplicate):
        async with the_bus.transaction(CAUSE) as unit:
            unit.emit(ModelDeleted("m1"))
    assert ["m1"] == [event.subject for event in broker.accepted]


async def test_a_failed_handler_may_try_again(the_bus: Bus, broker: Broker) -> None:
    """The mark belongs to the transaction: what rolled back was not processed."""
    with pytest.raises(Retry):
        async with the_bus.transaction(CAUSE):
            raise Retry(1)
    async with the_bus.transaction(CAUSE) as unit:
        unit.emit(ModelDeleted("m1"))
    assert 1 == len(broker.accepted)


async def test_the_actor_and_the_trace_travel(the_bus: Bus, broker: Broker) -> None:
    """What an event causes carries who asked, and the trace that is at work."""
    with trace.following("process", "00-" + "1" * 32 + "-" + "2" * 16 + "-01"):
        async with the_bus.transaction(CAUSE) as unit:
            unit.emit(ModelDeleted("m1"))
    assert [("ann", "1" * 32)] == [(event.actor, event.traceparent.split("-")[1]) for event in broker.accepted]


async def test_the_endpoint_acknowledges_with_an_empty_body(the_bus: Bus) -> None:
    """204 for the first and for the duplicate, 400 for a type that nobody handles."""

    async def handle(event: CloudEvent) -> None:
        async with the_bus.transaction(event):
            pass

    routes = [Route("/events", bus.endpoint({"known": handle}, TRUST), methods=["POST"])]
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app.build(routes, ready={})), base_url="http://function"
    ) as client:
        known = events.headers("1", "/s", "known", "", {})
        answers = [
            await client.post("/events", headers=delivered(headers), content=b"{}")
            for headers in (known, known, events.headers("2", "/s", "other", "", {}))
        ]
    assert [(204, b""), (204, b"")] == [(answer.status_code, answer.content) for answer in answers[:2]]
    assert 400 == answers[2].status_code


async def test_a_database_that_is_gone_is_bad_luck() -> None:
    """Nobody listens there: 503 with Retry-After, not a crash."""
    with pytest.raises(Retry, match="PostgreSQL does not answer"):
        await Database(Secret("postgresql://nobody@127.0.0.1:9/none")).ping()


async def test_a_duplicate_of_what_is_being_done_comes_again_later(the_bus: Bus, database: Database) -> None:
    """409 while another instance is at it, which Knative delivers again; nothing once it is done."""
    other = Bus(database, "/torpor/test", Broker(), KEYRING)
    async with the_bus.alone(CAUSE):
        with pytest.raises(BeingProcessed) as refused:
            await _begin(other)
        async with the_bus.transaction(CAUSE):
            pass
    assert 409 == refused.value.status
    with pytest.raises(Duplicate):
        await _begin(other)


async def test_work_that_failed_may_be_begun_again_at_once(the_bus: Bus) -> None:
    """The claim ends with the work, well or not."""

    async def fail() -> None:
        async with the_bus.alone(CAUSE):
            raise Retry(1)

    for _ in range(2):
        with pytest.raises(Retry):
            await fail()


async def test_work_that_outlasts_its_lease_has_one_effect(the_bus: Bus, broker: Broker, database: Database) -> None:
    """A second instance begins it as well; whoever is first to write wins, and the other has done nothing."""
    other = Bus(database, "/torpor/test", broker, KEYRING)

    async def work(one: Bus) -> None:
        async with one.alone(CAUSE):
            await database.execute("UPDATE inbox_claims SET until = now() - interval '1 s'")
            if one is the_bus:
                await work(other)
            async with one.transaction(CAUSE) as unit:
                unit.emit(ModelDeleted("m1"))

    with pytest.raises(Duplicate):
        await work(the_bus)
    assert 1 == len(broker.accepted)


async def test_simultaneous_duplicates_have_one_effect(the_bus: Bus, broker: Broker) -> None:
    """The mark is one row: whoever comes second waits for the first, and finds it done."""

    async def handle() -> str:
        try:
            async with the_bus.transaction(CAUSE) as unit:
                await asyncio.sleep(0.01)
                unit.emit(ModelDeleted("m1"))
        except Duplicate:
            return "duplicate"
        return "done"

    outcomes = await asyncio.gather(*(handle() for _ in range(20)))
    assert (1, 19, 1) == (outcomes.count("done"), outcomes.count("duplicate"), len(broker.accepted))


async def _begin(other: Bus) -> None:
    async with other.alone(CAUSE):
        raise AssertionError("two work on one event")


class Fussy:
    """A Broker that takes no event about a model named in `refuses`, and says why."""

    def __init__(self, *refuses: str) -> None:
        self.refuses = refuses
        self.accepted: list[CloudEvent] = []

    async def __call__(self, headers: Mapping[str, str], data: bytes) -> None:
        """Accept one event, or call it none."""
        event = events.parse(headers, data)
        if event.subject in self.refuses:
            raise Unacceptable("the Broker answered 400: no event", "http://broker", 400)
        self.accepted.append(event)


async def test_what_the_broker_will_never_take_is_a_dead_letter(database: Database) -> None:
    """Nobody looks into the outbox: it leaves it, with the answer and its signature, and its neighbours are sent."""
    fussy = Fussy("m2")
    sender = Bus(database, "/torpor/test", fussy, KEYRING)
    async with sender.transaction(actor="ann") as unit:
        for name in ("m1", "m2", "m3"):
            unit.emit(ModelRequested(name))
    letter = await database.fetchrow("SELECT * FROM dead_letters")
    sent = CloudEvent(
        letter["event_id"], letter["source"], letter["type"], letter["subject"], letter["extensions"], letter["data"]
    )
    assert (["m1", "m3"], 0) == (sorted(event.subject for event in fussy.accepted), await _left(database))
    assert ("http://broker", 400) == (letter["error_dest"], letter["error_code"])
    assert KEYRING.verifies(sent)
