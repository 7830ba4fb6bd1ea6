"""`webhook.requested`: tell an address of the asker's that a request is over. At least once, signed, never inside.

The Broker's back-off is the schedule of retries; the row counts them. aiohttp is imported at the first delivery.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from functions.kit.bus import Bus, Unit
from functions.kit.db import Database
from functions.kit.events import CloudEvent, WebhookRequested
from functions.kit.problem import Reject, Retry
from functions.serve.deps import Deps
from functions.serve.inference import outcome, signing
from functions.serve.inference.queue import SQL

if TYPE_CHECKING:
    from functions.kit.guard import Guard

# Standard Webhooks asks for 15 to 30 s; bus.CLAIM_S is the least that an event is ours alone.
TIMEOUT_S: Final = 10.0
PENDING: Final = "pending"
DELIVERED: Final = "delivered"
FAILED: Final = "failed"
_OK: Final = range(200, 300)
# «The receiver no longer wants them» (Standard Webhooks).
_GONE: Final = 410


class NotTaken(Exception):
    """The receiver did not take it. final: it never will."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


def check(url: str, allowed: Iterable[str], refusal: Callable[[str], Exception]) -> None:
    """Raise what `refusal` makes for an address that would not be asked: not https, inside, with a user name."""
    from yarl import URL

    try:
        address = URL(url)
    except ValueError as error:
        raise refusal(f"the address cannot be read: {error}") from error
    _guard(allowed, refusal).check(address)


def _guard(allowed: Iterable[str], refusal: Callable[[str], Exception]) -> "Guard":
    from functions.kit.guard import Guard, Purpose

    return Guard(Purpose("callback", "TORPOR_WEBHOOK_HOSTS", refusal), allowed)


class Webhooks:
    """The handler of `webhook.requested`."""

    def __init__(self, deps: Deps, *, clock: Callable[[], float] = time.time) -> None:
        self._db: Database = deps.db
        self._bus: Bus = deps.bus
        self._settings = deps.settings
        self._clock = clock

    async def __call__(self, event: CloudEvent) -> None:
        """Deliver once. Raises Retry to come again, Reject when it will not be delivered."""
        uuid = event.decode(WebhookRequested).inference_uuid
        async with self._bus.alone(event):
            row = await self._wanted(event, uuid)
            if row is None:
                # Not marked as handled: a duplicate of what failed must not keep an operator's redrive from working.
                return
            try:
                await self._deliver(row)
            except NotTaken as refusal:
                await self._not_taken(row, refusal)
            async with self._bus.transaction(cause=event) as unit:
                await unit.connection.execute(SQL.note_callback, uuid, DELIVERED, None)

    async def _wanted(self, event: CloudEvent, uuid: str) -> Mapping[str, Any] | None:
        """The request, if somebody still has to be told of it; again after an operator's redrive."""
        async with self._bus.transaction() as unit:
            row: Mapping[str, Any] | None = await unit.connection.fetchrow(SQL.lock_request, uuid)
            if row is not None and row["callback_status"] == FAILED and await _redriven(unit, event, row):
                await unit.connection.execute(SQL.revive_callback, uuid)
                return {**row, "callback_status": PENDING, "callback_attempts": 0}
        return row if row is not None and row["callback_status"] == PENDING else None

    async def _deliver(self, row: Mapping[str, Any]) -> None:
        """POST it. Redirects are not followed: they would be another address. Raises NotTaken."""
        import aiohttp

        body = signing.payload(row, self._settings.public_url)
        told = f"msg_{row['uuid']}_{int(row['finished_at'].timestamp())}"
        headers = signing.headers(told, int(self._clock()), body, row["callback_secret"] or "")
        try:
            check(row["callback_url"], self._settings.webhook_hosts, _never)
            async with (
                self._session() as session,
                session.post(row["callback_url"], data=body, headers=headers, allow_redirects=False) as answer,
            ):
                if answer.status not in _OK:
                    raise NotTaken(f"the receiver answered {answer.status}", final=answer.status == _GONE)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise NotTaken(f"the receiver does not answer ({type(error).__name__})") from error

    async def _not_taken(self, row: Mapping[str, Any], refusal: NotTaken) -> None:
        attempts = row["callback_attempts"] + 1
        last = refusal.final or attempts >= self._settings.webhook_attempts
        async with self._bus.transaction() as unit:
            state = FAILED if last else PENDING
            await unit.connection.execute(SQL.note_callback, row["uuid"], state, str(refusal))
        if last:
            raise Reject(f"the webhook was not delivered in {attempts} attempts: {refusal}")
        raise Retry(outcome.wait_s(attempts), str(refusal))

    def _session(self) -> Any:
        """For one delivery: they are rare, and go to many addresses."""
        import aiohttp

        from functions.kit.guard import GuardedResolver

        guard = _guard(self._settings.webhook_hosts, _never)
        connector = aiohttp.TCPConnector(resolver=GuardedResolver(guard), socket_factory=guard.socket_to)
        return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))


async def _redriven(unit: Unit, event: CloudEvent, row: Mapping[str, Any]) -> bool:
    since = row["callback_told_at"]
    return await unit.connection.fetchval(SQL.was_redriven, event.source, event.id, since) is not None


def _never(reason: str) -> NotTaken:
    return NotTaken(reason, final=True)
