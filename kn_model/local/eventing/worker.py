"""Delivers the events of one Trigger: claims what is due, sends it, records how it ended. Run by the dispatcher.

A worker never ends by itself. What it cannot record is claimed again when its lease has run out.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from typing import Final, TypeVar

from kn_model.local.eventing.delivery import BUG, Delivered, Failed, error_extensions, judge, pause
from kn_model.local.eventing.ledger import Claimed, LedgerDown
from kn_model.local.eventing.owed import Owed
from kn_model.local.eventing.sender import Send
from kn_model.local.eventing.subscriptions import Subscription
from kn_model.local.own_deliveries import NAMESPACE

# Deliveries of one trigger at a time. Instances bound their own concurrency and the activator queues; this bounds memory.
AT_ONCE: Final = 64
# While nothing is known to wait in the ledger, a claim leaves the rest of the room to events that arrive meanwhile.
SIP: Final = 16
# With more waiting in the ledger, room is claimed by the SIP, or what there is after this long.
GATHER_S: Final = 0.02
# Before asking a database again that did not answer, and before going on after a bug.
DOWN_PAUSE_S: Final = 1.0
BUG_PAUSE_S: Final = 5.0

T = TypeVar("T")
Reply = Callable[[str, Delivered, Claimed], Awaitable[None]]
"""Takes a broker (`namespace/name`), an answer with a reply, and what was answered; raises LedgerDown, ReplyRefused."""

_LOG = logging.getLogger(__name__)


class ReplyRefused(Exception):
    """The broker does not take a subscriber's reply; the text says why"""


class Worker:
    """Delivers for one trigger."""

    def __init__(
        self, subscription: Subscription, owed: Owed, send: Send, reply: Reply, now: Callable[[], datetime]
    ) -> None:
        self.subscription = subscription
        self._owed = owed
        self._send = send
        self._reply = reply
        self._now = now
        self._woken = asyncio.Event()
        self._in_hand: dict[uuid.UUID, Claimed] = {}
        self._reserved = 0
        # Whether the ledger may owe more than was claimed: so at the start, from an earlier run.
        self._behind = True
        self._gathering: asyncio.TimerHandle | None = None
        self._woken.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = False

    @property
    def in_hand(self) -> Collection[Claimed]:
        """What is being delivered, or waits for its end to be recorded."""
        return self._in_hand.values()

    def wake(self, wait_s: float = 0.0) -> None:
        """Look into the ledger, in `wait_s` seconds."""
        if wait_s > 0:
            asyncio.get_running_loop().call_later(wait_s, self._woken.set)
        else:
            self._woken.set()

    def reserve(self) -> bool:
        """Whether an event that is being accepted can go straight to the subscriber, without a claim.

        Not past others that wait in the ledger. True has to be followed by `take`.
        """
        if self._behind or self._room <= 0:
            self._behind = True
            return False
        self._reserved += 1
        return True

    def take(self, claimed: Claimed | None) -> None:
        """Deliver what a place was reserved for; None: it was not accepted."""
        self._reserved -= 1
        if claimed is not None and not self._ended:
            self._start(claimed)
        elif self._behind:
            self._gather()

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            while True:
                await self._woken.wait()
                self._woken.clear()
                await self._guarded_round()
        finally:
            self._ended = True
            for task in self._tasks:
                task.cancel()

    @property
    def _room(self) -> int:
        return AT_ONCE - len(self._in_hand) - self._reserved

    async def _guarded_round(self) -> None:
        """A round that fails is tried again: the trigger would otherwise never be served any more."""
        key = self.subscription.key
        try:
            await self._round()
        except LedgerDown as error:
            _LOG.warning("deliveries of %s wait for PostgreSQL: %s", key, error)
            self.wake(DOWN_PAUSE_S)
        except Exception:  # noqa: BLE001 - told, and tried again
            _LOG.exception("deliveries of %s stopped at a bug and go on in %.0f s", key, BUG_PAUSE_S)
            self.wake(BUG_PAUSE_S)

    async def _round(self) -> None:
        """Claim what is due, as far as there is room; a full claim means that there may be more."""
        limit = self._room if self._behind else min(self._room, SIP)
        if limit <= 0:
            self._behind = True  # the next delivery that ends claims
            return
        self._reserved += limit
        try:
            claimed = await self._owed.claim(self.subscription.key, limit)
        finally:
            self._reserved -= limit
        self._behind = len(claimed) >= limit
        for each in claimed:
            # Ours by a claim that was undone or has run out, and in hand all the same: once is enough.
            if each.id not in self._in_hand:
                self._start(each)
        if self._behind:
            self._gather()

    def _start(self, claimed: Claimed) -> None:
        self._in_hand[claimed.id] = claimed
        task = asyncio.create_task(self._deliver(claimed))
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._over(claimed, ended))

    def _over(self, claimed: Claimed, task: "asyncio.Task[None]") -> None:
        self._in_hand.pop(claimed.id, None)
        self._tasks.discard(task)
        if self._behind and not self._ended:
            self._gather()
        if not task.cancelled() and (error := task.exception()):
            _LOG.error("the end of a delivery of %s was not recorded", self.subscription.key, exc_info=error)

    def _gather(self) -> None:
        """Claim more: soon, so that one claim does for several deliveries that end."""
        if self._room >= SIP:
            self._woken.set()
        elif self._gathering is None and self._room > 0:
            self._gathering = asyncio.get_running_loop().call_later(GATHER_S, self._gathered)

    def _gathered(self) -> None:
        self._gathering = None
        self._woken.set()

    async def _deliver(self, claimed: Claimed) -> None:
        subscription = self.subscription
        dead = claimed.error is not None and subscription.dead_letter is not None
        url = subscription.dead_letter if dead and subscription.dead_letter else subscription.subscriber
        outcome = await self._attempt(claimed, url)
        if isinstance(outcome, Delivered) and outcome.reply is not None and claimed.error is None:
            outcome = await self._replied(claimed, outcome)
        if isinstance(outcome, Failed):
            await self._record_failure(claimed, outcome, url)
        else:
            await self._until_recorded(lambda: self._owed.finish(claimed))

    async def _attempt(self, claimed: Claimed, url: str) -> Delivered | Failed:
        event = claimed.event.having(**(claimed.error or {}))
        headers = {**claimed.headers, NAMESPACE: self.subscription.namespace}
        try:
            return judge(await self._send(url, event, headers, self.subscription.delivery.timeout_s), self._now())
        except Exception:  # noqa: BLE001 - told, and an attempt like any other
            _LOG.exception("sending an event of %s met a bug; it counts as a failed attempt", self.subscription.key)
            return BUG

    async def _replied(self, claimed: Claimed, answer: Delivered) -> Delivered | Failed:
        """The reply is kept before the event that it answers is over; a reply that is refused is a failed delivery."""
        try:
            await self._until_recorded(lambda: self._reply(self.subscription.broker, answer, claimed))
        except ReplyRefused as error:
            return Failed(400, retryable=False, data=str(error).encode())
        return answer

    async def _until_recorded(self, record: Callable[[], Awaitable[T]]) -> T:
        """The delivery stays in hand until the ledger knows how it ended."""
        while True:
            try:
                return await record()
            except LedgerDown:
                await asyncio.sleep(DOWN_PAUSE_S)

    async def _record_failure(self, claimed: Claimed, failed: Failed, url: str) -> None:
        delivery = self.subscription.delivery
        failures = claimed.failures + 1
        said = f"{failed.status}" if failed.answered else "no answer"
        what = f"{claimed.event.attributes['type']} to {url}"
        if failed.retryable and failures <= delivery.retry:
            wait = max(pause(delivery, failures), failed.pause_s)
            _LOG.info("%s: %s; attempt %d of %d in %.1f s", what, said, failures + 1, delivery.retry + 1, wait)
            await self._until_recorded(lambda: self._owed.postpone(claimed, failures, claimed.error, wait))
            self.wake(wait)
        elif claimed.error is None and self.subscription.dead_letter is not None:
            _LOG.warning("%s: %s; after %d attempts to the dead letter sink", what, said, failures)
            error = error_extensions(self.subscription.subscriber, failed)
            await self._until_recorded(lambda: self._owed.postpone(claimed, 0, error, 0.0))
            self.wake()
        else:
            # As on a cluster, where an event without a working dead letter sink is gone.
            _LOG.error(
                "%s: %s; given up after %d attempts, event %s", what, said, failures, claimed.event.attributes["id"]
            )
            await self._until_recorded(lambda: self._owed.finish(claimed))
