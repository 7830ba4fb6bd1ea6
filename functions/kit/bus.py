"""The bus: handlers change state and emit events in one transaction; publishing follows the commit (outbox pattern).

A lost, late or doubled event can delay work, never lose it or do it twice:
- outgoing events are rows of `outbox` until the Broker answered 2xx; `resend`, called on every tick, sends what is left,
  and what the Broker calls no event of its kind becomes a dead letter;
- an incoming event is marked in `inbox` by the transaction that holds its effect, so a duplicate finds the mark.
"""

import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from functions.kit import events, log, signature, trace
from functions.kit.db import Database, queries
from functions.kit.events import CloudEvent, Event
from functions.kit.problem import Conflict, Problem, Reject
from functions.kit.publisher import Publisher, PublishError, Unacceptable
from functions.kit.signature import Keyring
from functions.kit.trust import Trust

Handler = Callable[[CloudEvent], Awaitable[None]]

# Longer than one publishing attempt can take, so that nobody sends a row that its writer is sending.
LEASE_S: Final = 15.0
# What a handler's long work takes at most; shorter than a broker's retries of the event together (half a minute).
CLAIM_S: Final = 15.0
BACKOFF_S: Final = 0.5
BACKOFF_CAP_S: Final = 60.0
# Rows of one round trip; as many POSTs are then under way at once.
BATCH: Final = 200
# A tick's handler ends in seconds: it claims no further rows after this, and the next tick goes on.
RESEND_S: Final = 10.0

SQL = queries(str(Path(__file__)))
# Events whose subject is a model: log lines then name it.
_OF_MODELS: Final = frozenset(kind.TYPE for kind in events.ALL if fields(kind)[0].name == "model_uuid")
_LOG = logging.getLogger("torpor.bus")


class Duplicate(Exception):
    """The effect of this event is committed already; the endpoint answers 204."""


class BeingProcessed(Conflict):
    """Another instance is working on this event"""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One row of the outbox.

    key: the row's. id: the event's, which is the same unless it was redriven.
    redriven: it was an event before and leaves as it came, its signature included. Signing it here would make a genuine
    event of one that was refused as made up.
    """

    key: str
    id: str
    source: str
    type: str
    subject: str
    extensions: dict[str, str]
    data: bytes
    redriven: bool = False


@dataclass(slots=True)
class Unit:
    """One transaction of a handler: its connection, the event that it handles, and those that leave when it commits."""

    connection: Any
    cause: CloudEvent | None
    source: str
    extensions: dict[str, str]
    new_id: Callable[[], str]
    outgoing: list[Outgoing] = field(default_factory=list)

    def emit(self, event: Event, **extensions: str) -> None:
        """Send `event` once this transaction is committed; a rollback sends nothing."""
        merged = {name: text for name, text in {**self.extensions, **extensions}.items() if text}
        data = msgspec.json.encode(event)
        id_ = self.new_id()
        self.outgoing.append(Outgoing(id_, id_, self.source, event.TYPE, event.subject, merged, data))


def _event_id() -> str:
    return secrets.token_hex(16)


class Bus:
    """Outbox and inbox of one function."""

    def __init__(
        self,
        db: Database,
        source: str,
        publisher: Publisher,
        keyring: Keyring,
        new_id: Callable[[], str] = _event_id,
    ) -> None:
        """source: `/torpor/<function>`, the CloudEvents source and the consumer's name in the inbox.

        keyring: signs what leaves, at the moment of sending, so that a key that was replaced signs nothing any more.
        new_id: ids of events; a simulation makes them from its seed.
        """
        self._db = db
        self._source = source
        self._publish_one = publisher
        self._keyring = keyring
        self._new_id = new_id

    @contextlib.asynccontextmanager
    async def transaction(self, cause: CloudEvent | None = None, *, actor: str = "") -> AsyncIterator[Unit]:
        """State change, inbox mark and outgoing events as one transaction; then publish.

        cause: the event being handled; Duplicate is raised when its effect is committed already.
        actor: who asks, for a call that no event caused; it travels in every event that follows.
        """
        extensions = {"actor": cause.actor if cause else actor, "traceparent": trace.current()}
        async with self._db.transaction() as connection:
            await self._mark(connection, cause)
            unit = Unit(connection, cause, self._source, extensions, self._new_id)
            yield unit
            await self._store(connection, unit.outgoing)
        await self._publish(unit.outgoing)

    async def seen(self, event: CloudEvent) -> bool:
        """Whether the event's effect is committed: asked before long work, so that a duplicate does not repeat it."""
        return await self._db.fetchval(SQL.is_processed, self._source, event.source, event.id) is not None

    @contextlib.asynccontextmanager
    async def alone(self, event: CloudEvent) -> AsyncIterator[None]:
        """Long work for an event, before the transaction that marks it. Raises Duplicate, and BeingProcessed (409).

        When the work takes longer than the lease, a second instance may begin it as well; the mark still lets only one
        of them have an effect.
        """
        key = (self._source, event.source, event.id)
        until = await self._db.fetchval(SQL.claim_processing, *key, CLAIM_S)
        if until is None:
            raise BeingProcessed("another instance is working on this event; deliver it again in a moment")
        try:
            if await self.seen(event):
                raise Duplicate(event.id)
            yield
        finally:
            # Without a database the lease runs out by itself.
            with contextlib.suppress(Problem):
                await self._db.execute(SQL.end_processing, *key, until)

    async def resend(self) -> int:
        """Send what is still in the outbox and due, for RESEND_S. Answers how many events the Broker accepted.

        Rows that it refuses are due again later and stop nobody behind them; when it takes none of a batch, it is down.
        """
        import asyncio

        await self._db.execute(SQL.forget_processed, self._source)
        clock, accepted = asyncio.get_running_loop().time, 0
        end = clock() + RESEND_S
        while clock() < end and (rows := await self._db.fetch(SQL.claim_events, self._source, BATCH, LEASE_S)):
            sent = await self._publish([_outgoing(row) for row in rows])
            accepted += sent
            if not sent:
                break
        return accepted

    async def _mark(self, connection: Any, cause: CloudEvent | None) -> None:
        if cause is None:
            return
        if await connection.fetchval(SQL.mark_processed, self._source, cause.source, cause.id) is None:
            raise Duplicate(cause.id)

    async def _store(self, connection: Any, rows: Sequence[Outgoing]) -> None:
        if not rows:
            return
        await connection.execute(
            SQL.add_events,
            [row.key for row in rows],
            self._source,
            [row.type for row in rows],
            [row.subject for row in rows],
            [msgspec.json.encode(row.extensions).decode() for row in rows],
            [row.data.decode() for row in rows],
            LEASE_S,
        )

    async def _publish(self, rows: Sequence[Outgoing]) -> int:
        """Send each row; those accepted leave the outbox, the rest wait for a tick. Never raises for the Broker's sake."""
        import asyncio

        if not rows:
            return 0
        signed = [self._signed(row) for row in rows]
        outcomes = list(zip(signed, await asyncio.gather(*(self._send(row) for row in signed)), strict=True))
        accepted = [row.key for row, error in outcomes if error is None]
        try:
            if accepted:
                await self._db.execute(SQL.remove_events, accepted)
            await self._postpone(
                [(row.key, error) for row, error in outcomes if error and not isinstance(error, Unacceptable)]
            )
            await self._bury([(row, error) for row, error in outcomes if isinstance(error, Unacceptable)])
        except Problem as problem:
            # The rows stay leased and are sent again: receivers know duplicates by (source, id).
            _LOG.warning("the outbox could not be updated after publishing: %s", problem.detail)
        return len(accepted)

    async def _postpone(self, rows: Sequence[tuple[str, PublishError]]) -> None:
        if not rows:
            return
        reason = str(rows[0][1])
        _LOG.warning("the Broker did not accept %d events; the next tick sends them: %s", len(rows), reason)
        await self._db.execute(SQL.postpone_events, [key for key, _ in rows], BACKOFF_S, BACKOFF_CAP_S, reason)

    async def _bury(self, rows: Sequence[tuple[Outgoing, Unacceptable]]) -> None:
        """Out of the outbox, where nobody would see them, and among the dead letters, signed as they were sent."""
        if not rows:
            return
        _LOG.error("the Broker will never accept %d events; they are dead letters now: %s", len(rows), rows[0][1])
        await self._db.execute(
            SQL.bury_events,
            [row.key for row, _ in rows],
            [msgspec.json.encode(row.extensions).decode() for row, _ in rows],
            [error.broker for _, error in rows],
            [error.status for _, error in rows],
            [str(error) for _, error in rows],
        )

    def _signed(self, row: Outgoing) -> Outgoing:
        if row.redriven:
            return row
        event = CloudEvent(row.id, row.source, row.type, row.subject, row.extensions, row.data)
        return replace(row, extensions={**row.extensions, signature.NAME: self._keyring.sign(event)})

    async def _send(self, row: Outgoing) -> PublishError | None:
        headers = events.headers(row.id, row.source, row.type, row.subject, row.extensions)
        try:
            await self._publish_one(headers, row.data)
        except PublishError as error:
            return error
        return None


def _outgoing(row: Mapping[str, Any]) -> Outgoing:
    names = ("key", "id", "source", "type", "subject", "extensions", "body", "redriven")
    return Outgoing(*(row[name] for name in names))


def endpoint(
    handlers: Mapping[str, Handler], trust: Trust, trace_of: Callable[[CloudEvent], str] = attrgetter("traceparent")
) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of `POST /events`: check who delivers and who wrote it, dispatch by type, answer 204 with an empty body.

    Knative takes a 2xx with a body that is no CloudEvent for a failure, hence the empty one. An unknown type is
    rejected (400): a Trigger that sends it is wrong, and a retry would not mend it.
    trace_of: the traceparent that an event is handled under; its own unless what it is about has another.
    """

    async def receive(request: Request) -> Response:
        """What the Broker delivers: acknowledged with 204 and an empty body."""
        received = events.parse(request.headers, await request.body())
        log.event_id.set(received.id)
        event = trust.received(received, request.headers)
        if event.type in _OF_MODELS:
            log.model_uuid.set(event.subject)
        handler = handlers.get(event.type)
        if handler is None:
            raise Reject(f"this function does not handle events of type {event.type}")
        with trace.following(f"process {event.type}", trace_of(event)) as span:
            span.attributes |= _described(event)
            try:
                await handler(event)
            except Duplicate:
                _LOG.info("the event was handled before; nothing is done")
        return Response(status_code=204)

    return receive


def _described(event: CloudEvent) -> dict[str, str | int]:
    """The attributes of OpenTelemetry's conventions for CloudEvents."""
    attributes = {"id": event.id, "source": event.source, "type": event.type, "subject": event.subject}
    return {f"cloudevents.event_{name}": text for name, text in attributes.items()}
