"""Usage reaches the Broker once, in batches, and never holds a request up."""

import asyncio
import json
import logging
from typing import Any

import pytest

from functions.kit.events import UsageRecord
from functions.serve.engine.usage import BATCH, Ledger, Undelivered
from tests.deliveries import KEYRING


class Broker:
    """A sender whose first deliveries may fail, or may arrive although they look failed."""

    def __init__(self, failures: int = 0, *, silent: bool = False) -> None:
        self.failures = failures
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
            raise Undelivered("no")

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
