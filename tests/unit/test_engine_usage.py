"""Usage reaches its sink once, in batches, and never holds a request up."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from functions.kit.events import EngineStarted, UsageRecord, UsageRecorded
from functions.serve.engine.phases import described
from functions.serve.engine.usage import BATCH, SENDER_TRIES, HttpSender, Ledger, Refused, Undelivered
from tests.deliveries import KEYRING


class Broker:
    """A sender whose first deliveries may fail, or may arrive although they look failed."""

    def __init__(
        self, failures: int = 0, *, silent: bool = False, failing: Callable[[], Undelivered] = lambda: Undelivered("no")
    ) -> None:
        self.failures = failures
        self.failing = failing
        self.silent = silent
        self.sent: list[tuple[str, list[str]]] = []
        self.closed = False
        self.arrived = asyncio.Event()

    async def send(self, event_headers: dict[str, str], body: bytes) -> None:
        """Take an event, or say that it could not."""
        await asyncio.sleep(0)
        if self.silent:
            await asyncio.Event().wait()
        ids: list[Any] = [record["request_id"] for record in json.loads(body)["records"]]
        self.sent.append((event_headers["ce-id"], ids))
        self.arrived.set()
        if self.failures:
            self.failures -= 1
            raise self.failing()

    async def close(self) -> None:
        """Remember it."""
        self.closed = True


def record(request_id: str) -> UsageRecord:
    """A record that only its id tells from others."""
    return UsageRecord(request_id, "ada", None, "m", 1, 2, "2026-01-01T00:00:00.000Z", 3, 200, streamed=False)


def ledger(broker: Broker, capacity: int = 1000) -> Ledger:
    """A ledger that does not wait in tests."""
    return Ledger("s", broker, KEYRING, capacity=capacity, linger_s=0, sleep=lambda _: asyncio.sleep(0))


async def test_records_travel_in_batches() -> None:
    """Many answers make few events, in order, none lost."""
    broker = Broker()
    book = ledger(broker)
    for number in range(BATCH + 1):
        book.record(record(str(number)))
    await book.close(1)
    assert [ids for _, ids in broker.sent] == [[str(number) for number in range(BATCH)], [str(BATCH)]]
    assert broker.closed


async def test_repeated_event_keeps_its_id() -> None:
    """A delivery that failed, or only looks so, is repeated under the same id: the receiver can tell."""
    broker = Broker(failures=3)
    book = ledger(broker)
    book.record(record("a"))
    await book.close(1)
    assert len(broker.sent) == 4
    assert len(set(map(str, broker.sent))) == 1


async def test_sending_goes_on_after_a_pause() -> None:
    """A record that comes when everything had been sent is sent too."""
    broker = Broker()
    book = ledger(broker)
    book.record(record("a"))
    await broker.arrived.wait()
    book.record(record("b"))
    await book.close(1)
    assert [ids for _, ids in broker.sent] == [["a"], ["b"]]


async def test_full_buffer_puts_the_oldest_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Memory is bounded; what does not fit can still be found."""
    book = ledger(Broker(silent=True), capacity=2)
    for name in "abc":
        book.record(record(name))
    lost = [entry.__dict__["usage"]["request_id"] for entry in caplog.records]
    assert lost == ["a"]
    with caplog.at_level(logging.CRITICAL):
        await book.close(0)


async def test_what_the_broker_does_not_take_in_time_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An engine that has to end writes what is left, the batch under way included."""
    book = ledger(Broker(silent=True))
    book.record(record("a"))
    await asyncio.sleep(0.01)
    book.record(record("b"))
    await book.close(0.01)
    assert [entry.__dict__["usage"]["request_id"] for entry in caplog.records] == ["a", "b"]


@pytest.mark.parametrize(("status", "tries"), [(400, 1), (405, 1), (413, 1), (401, SENDER_TRIES), (403, SENDER_TRIES)])
async def test_a_refused_batch_goes_to_the_log_and_lets_the_next_pass(
    status: int, tries: int, caplog: pytest.LogCaptureFixture
) -> None:
    """In full and with the status; only what may be a new key that status has not read yet is tried for a while."""
    sink = Broker(failures=tries, failing=lambda: Refused(status))
    book = ledger(sink)
    for number in range(BATCH + 1):
        book.record(record(str(number)))
    await book.close(1)
    assert [len(ids) for _, ids in sink.sent] == [BATCH] * tries + [1]
    lost = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    assert [entry.__dict__["usage"]["request_id"] for entry in lost] == [str(number) for number in range(BATCH)]
    assert all(str(status) in entry.getMessage() for entry in lost)


async def test_a_key_that_is_read_in_time_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """403 until the sink's next revision is there, then taken."""
    sink = Broker(failures=SENDER_TRIES - 1, failing=lambda: Refused(403))
    book = ledger(sink)
    book.record(record("a"))
    await book.close(1)
    assert (len(sink.sent), [entry for entry in caplog.records if entry.levelno == logging.ERROR]) == (SENDER_TRIES, [])


@asynccontextmanager
async def answering(status: int) -> AsyncIterator[HttpSender]:
    """A sender whose sink answers so."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/events", answer)
    async with TestServer(app) as server:
        sender = HttpSender(str(server.make_url("/events")))
        yield sender
        await sender.close()


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_any_success_means_taken(status: int) -> None:
    """202 from a Broker, 204 from status."""
    async with answering(status) as sender:
        await sender.send({}, b"")


ANSWERS = {
    Undelivered: (302, 404, 408, 409, 429, 500, 503),
    Refused: (400, 401, 403, 405, 413),
}


@pytest.mark.parametrize(("meant", "status"), [(meant, status) for meant, each in ANSWERS.items() for status in each])
async def test_answers_mean_what_knatives_table_of_retries_says(meant: type[Undelivered], status: int) -> None:
    """Refused is what no repetition mends."""
    async with answering(status) as sender:
        with pytest.raises(Undelivered) as caught:
            await sender.send({}, b"")
    assert (meant, str(status) in str(caught.value)) == (type(caught.value), True)


def start() -> EngineStarted:
    """What an engine says of its start."""
    return EngineStarted("s", "s-00001", "2026-01-01T00:00:00Z", None, None, 7)


class Post(Broker):
    """A sender that keeps the types of what it took; those of a start may be refused."""

    def __init__(self, *, knows_starts: bool = True) -> None:
        super().__init__()
        self.knows_starts = knows_starts
        self.types: list[str] = []

    async def send(self, event_headers: dict[str, str], body: bytes) -> None:
        """Take it, whatever it is."""
        del body
        if event_headers["ce-type"] == EngineStarted.TYPE and not self.knows_starts:
            raise Refused(400)
        self.types.append(event_headers["ce-type"])


async def test_a_start_is_told_by_the_same_way() -> None:
    """Before the usage that waits, under the engine's key."""
    post = Post()
    book = ledger(post)
    book.record(record("a"))
    book.announce(start())
    await book.close(1)
    assert post.types == [EngineStarted.TYPE, UsageRecorded.TYPE]


async def test_a_status_that_knows_no_starts_still_gets_usage(caplog: pytest.LogCaptureFixture) -> None:
    """An older release refuses the type; that costs a figure and nothing else."""
    post = Post(knows_starts=False)
    book = ledger(post)
    book.announce(start())
    book.record(record("a"))
    await book.close(1)
    assert (post.types, [entry for entry in caplog.records if entry.levelno == logging.ERROR]) == (
        [UsageRecorded.TYPE],
        [],
    )


def test_a_start_is_told_in_milliseconds_since_its_process_began() -> None:
    """What an engine does not do, such as the stub's fetching, has no number."""
    now = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)
    whole = described("s", "s-00001", 30.0, now, {"fetched": 9.25, "loaded": 25.5})
    assert whole == EngineStarted("s", "s-00001", "2026-01-01T00:00:00.000Z", 9250, 25500, 30000)
    assert described("s", "", 30.0, now, {}) == EngineStarted("s", "", "2026-01-01T00:00:00.000Z", None, None, 30000)
