"""Sends what requests used to the sink, in batches, beside the token path and never in it; and how the engine started.

The sink is the Broker, or the function status where the Broker may forget what it took (docs/decisions/0007). The
middleware calls `Ledger.record`, which only appends. A task sends batches as `usage.recorded` events and repeats each one
with the same id until the sink takes it, so that `(source, id)` makes a repeated one harmless. What the sink will never
take goes to the log in full.
"""

import asyncio
import contextvars
import dataclasses
import logging
import random
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import msgspec

from functions.kit import signature
from functions.kit.events import CloudEvent, Event, UsageRecord, UsageRecorded, headers
from functions.kit.signature import Keyring
from functions.serve.engine.consumption import Consumption

SOURCE: Final = "/torpor/engine"
# A batch is at most 100 records of about 300 bytes: well under the 64 KiB that events keep to.
BATCH: Final = 100
# Usage shows this much later; in exchange a busy engine sends one event where it would send hundreds.
LINGER_S: Final = 1.0
BACK_OFF_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
SEND_TIMEOUT_S: Final = 10.0
# Of the class 4xx, what Knative's senders deliver again: not there yet, too slow, under way elsewhere, too much at once.
_PASSING: Final = frozenset({404, 408, 409, 429})
# Said of who sends: 403 is also what a function answers that does not know a new key yet, and that mends itself.
_OF_THE_SENDER: Final = frozenset({401, 403})
# With the back-off: one and a half to three minutes, in which a new revision of status reads the new key. An engine's own
# key does not change while it lives, so one that was dropped stays wrong, and the records are worth more in the log.
SENDER_TRIES: Final = 12
_LOG = logging.getLogger("torpor.usage")


class Undelivered(Exception):
    """The sink did not take an event; it may later."""


class Refused(Undelivered):
    """The sink answered that it does not take this event, as a rule for ever."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the sink answered {status}")
        self.status = status


class Sender(Protocol):
    """Delivers one event."""

    async def send(self, event_headers: dict[str, str], body: bytes) -> None:
        """Raises Undelivered, and Refused."""

    async def close(self) -> None:
        """No more events will follow."""


class HttpSender:
    """`Sender` over HTTP, with one kept-alive session. aiohttp is imported at first use; vLLM has loaded it by then."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: Any = None

    async def send(self, event_headers: dict[str, str], body: bytes) -> None:
        """See Sender."""
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SEND_TIMEOUT_S))
        try:
            async with self._session.post(self._url, data=body, headers=event_headers, allow_redirects=False) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Undelivered(type(error).__name__) from error
        if status // 100 == _REFUSAL and status not in _PASSING:
            raise Refused(status)
        if status // 100 != _SUCCESS:
            raise Undelivered(f"the sink answered {status}")

    async def close(self) -> None:
        """See Sender."""
        if self._session is not None:
            await self._session.close()


# Classes of HTTP.
_SUCCESS: Final = 2
_REFUSAL: Final = 4


class LogSender:
    """`Sender` for an engine without a sink: the events go to the log."""

    async def send(self, event_headers: dict[str, str], body: bytes) -> None:
        """See Sender."""
        _LOG.info("usage", extra={"event_id": event_headers["ce-id"], "usage": body.decode()})

    async def close(self) -> None:
        """See Sender."""


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """One event under way: its id stays the same however often it is sent."""

    event_id: str
    event: Event

    @property
    def records(self) -> list[UsageRecord]:
        """The usage in it."""
        return self.event.records if isinstance(self.event, UsageRecorded) else []


class Ledger:
    """The usage of one engine instance between the answer and the sink."""

    def __init__(  # noqa: PLR0913  # where to, signed with what, and three limits
        self,
        server: str,
        sender: Sender,
        keyring: Keyring,
        *,
        capacity: int,
        linger_s: float = LINGER_S,
        look: Callable[[], Consumption | None] = lambda: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._server = server
        self._sender = sender
        self._keyring = keyring
        self._capacity = capacity
        self._linger_s = linger_s
        self._look = look
        self._sleep = sleep
        self._waiting: deque[UsageRecord] = deque()
        self._news: deque[Event] = deque()
        self._in_flight: Batch | None = None
        self._task: asyncio.Task[None] | None = None

    def record(self, record: UsageRecord) -> None:
        """Keep a record; returns at once. When the buffer is full the oldest goes to the log instead."""
        if len(self._waiting) >= self._capacity:
            _log_lost([self._waiting.popleft()], "the buffer is full")
        self._waiting.append(record)
        self._begin()

    def announce(self, event: Event) -> None:
        """Send an event of the engine's own in the same way; returns at once. It goes before usage that waits."""
        self._news.append(event)
        self._begin()

    def _begin(self) -> None:
        if self._task is None or self._task.done():
            # It outlives the request that starts it, so its log lines are not that request's.
            self._task = asyncio.get_running_loop().create_task(self._send_all(), context=contextvars.Context())

    async def close(self, within_s: float) -> None:
        """Send what is left for at most `within_s`; what the sink does not take by then goes to the log."""
        self._linger_s = 0
        task = self._task
        if task is not None:
            if not task.done():
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        try:
            await asyncio.wait_for(self._send_all(), within_s)
        except TimeoutError:
            left = [*(self._in_flight.records if self._in_flight else []), *self._waiting]
            _log_lost(left, "the engine ends")
        await self._sender.close()

    async def _send_all(self) -> None:
        while self._waiting or self._news or self._in_flight:
            if len(self._waiting) < BATCH and self._linger_s:
                await self._sleep(self._linger_s)
            if self._in_flight is None:
                self._in_flight = self._next_batch()
            await self._deliver(self._in_flight)
            self._in_flight = None

    def _next_batch(self) -> Batch:
        if self._news:
            return Batch(uuid.uuid4().hex, self._news.popleft())
        used = self._look()
        records = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        measured = (used.memory_mb, used.cpu_percent) if used else (None, None)
        return Batch(uuid.uuid4().hex, UsageRecorded(self._server, records, *measured))

    async def _deliver(self, batch: Batch) -> None:
        body = msgspec.json.encode(batch.event)
        event = CloudEvent(batch.event_id, SOURCE, batch.event.TYPE, self._server, {}, body)
        signed = {signature.NAME: self._keyring.sign(event)}
        event_headers = headers(event.id, event.source, event.type, event.subject, signed)
        failures = 0
        while True:
            try:
                return await self._sender.send(event_headers, body)
            except Undelivered as error:
                pause = BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)]
                failures += 1
                if isinstance(error, Refused) and failures >= _tries(error):
                    return _log_refused(batch, str(error))
                _LOG.warning("usage is not delivered yet: %s", error, extra={"records": len(batch.records)})
                # Spread, so that engines which lost the same sink do not all return in one moment.
                await self._sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # no secret


def _tries(refused: Refused) -> int:
    return SENDER_TRIES if refused.status in _OF_THE_SENDER else 1


def _log_refused(batch: Batch, reason: str) -> None:
    """An event without usage is a figure that will be missing: a status of an older release does not know it."""
    if not batch.records:
        _LOG.warning("%s was not taken: %s", batch.event.TYPE, reason)
    _log_lost(batch.records, reason)


def _log_lost(records: list[UsageRecord], reason: str) -> None:
    """The last place where usage can be found: the log, in full."""
    for record in records:
        _LOG.error("usage could not be delivered: %s", reason, extra={"usage": dataclasses.asdict(record)})
