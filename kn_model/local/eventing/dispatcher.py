"""Delivers what the ledger owes, one worker per Trigger, so that a slow subscriber delays nobody else's events.

Called by the broker, which wakes a worker when it has accepted an event for it. Nothing polls: a worker sleeps until it
is woken or until its next retry is due; one look at the ledger every few seconds covers clock jumps and other dispatchers.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from kn_model.local.eventing.cloudevent import CloudEvent
from kn_model.local.eventing.delivery import Delivered, Failed, error_extensions, judge, pause
from kn_model.local.eventing.ledger import LEASE_S, Claimed, Ledger, LedgerDown
from kn_model.local.eventing.sender import Send
from kn_model.local.eventing.subscriptions import Subscription

# Deliveries of one trigger at a time. Instances bound their own concurrency and the activator queues; this bounds memory.
AT_ONCE: Final = 64
# Before asking a database again that did not answer.
DOWN_PAUSE_S: Final = 1.0

_LOG = logging.getLogger(__name__)

# How often leases are renewed and the ledger is asked for what nobody was woken for.
LOOK_S: Final = LEASE_S / 3

Reply = Callable[[str, CloudEvent, int], Awaitable[None]]
"""Takes a broker (`namespace/name`), a subscriber's reply and the hops that it has left; raises LedgerDown."""


class Dispatcher:
    """All workers of one broker process."""

    def __init__(self, ledger: Ledger, send: Send, reply: Reply) -> None:
        self._ledger = ledger
        self._send = send
        self._reply = reply
        self._workers: dict[str, tuple[Worker, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Keep leases and look for due deliveries that nobody was woken for, until cancelled."""
        while True:
            with suppress(LedgerDown):
                await self._ledger.renew()
                for trigger, wait in (await self._ledger.waits()).items():
                    if wait <= LOOK_S:  # later ones are seen again next time
                        self.wake(trigger, wait)
            await asyncio.sleep(LOOK_S)

    def wake(self, trigger: str, wait_s: float = 0.0) -> None:
        """Something is due for a trigger, in `wait_s` seconds."""
        if found := self._workers.get(trigger):
            found[0].wake(wait_s)

    async def serve(self, subscriptions: Iterable[Subscription]) -> None:
        """Work for exactly these triggers from now on. A changed one keeps what it is owed, a removed one does not."""
        wanted = {each.key: each for each in subscriptions}
        for key in self._workers.keys() - wanted.keys():
            self._workers.pop(key)[1].cancel()
            with suppress(LedgerDown):
                await self._ledger.forget(key)
        for key, subscription in wanted.items():
            if found := self._workers.get(key):
                found[0].subscription = subscription
            else:
                worker = Worker(subscription, self._ledger, self._send, self._reply)
                self._workers[key] = (worker, asyncio.create_task(worker.run(), name=f"trigger {key}"))

    async def stop(self) -> None:
        """Drop what is in hand; it is delivered again after the next start."""
        tasks = [task for _, task in self._workers.values()]
        self._workers.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Worker:
    """Delivers for one trigger."""

    def __init__(self, subscription: Subscription, ledger: Ledger, send: Send, reply: Reply) -> None:
        self.subscription = subscription
        self._ledger = ledger
        self._send = send
        self._reply = reply
        self._woken = asyncio.Event()
        self._woken.set()  # the ledger may owe something from an earlier run
        self._running: set[asyncio.Task[None]] = set()

    def wake(self, wait_s: float = 0.0) -> None:
        """Look into the ledger, in `wait_s` seconds."""
        if wait_s > 0:
            asyncio.get_running_loop().call_later(wait_s, self._woken.set)
        else:
            self._woken.set()

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            while True:
                await self._woken.wait()
                self._woken.clear()
                await self._round()
        finally:
            for task in self._running:
                task.cancel()

    async def _round(self) -> None:
        """Claim what is due, as far as there is room; a full claim means that there may be more."""
        room = AT_ONCE - len(self._running)
        if room == 0:
            return  # the next delivery that ends wakes us
        try:
            claimed = await self._ledger.claim(self.subscription.key, room)
        except LedgerDown as error:
            _LOG.warning("deliveries of %s wait for PostgreSQL: %s", self.subscription.key, error)
            self.wake(DOWN_PAUSE_S)
            return
        for each in claimed:
            task = asyncio.create_task(self._deliver(each))
            self._running.add(task)
            task.add_done_callback(self._ended)
        if len(claimed) == room:
            self._woken.set()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        was_full = len(self._running) == AT_ONCE
        self._running.discard(task)
        if was_full:
            self._woken.set()
        if not task.cancelled() and (error := task.exception()):
            _LOG.error("a delivery of %s ended with a bug", self.subscription.key, exc_info=error)

    async def _deliver(self, claimed: Claimed) -> None:
        subscription = self.subscription
        dead = claimed.error is not None and subscription.dead_letter is not None
        url = subscription.dead_letter if dead and subscription.dead_letter else subscription.subscriber
        event = claimed.event.having(**(claimed.error or {}))
        answer = await self._send(url, subscription.namespace, event, subscription.delivery.timeout_s)
        outcome = judge(answer, datetime.now(UTC))
        await self._until_recorded(lambda: self._record(claimed, outcome, url))

    async def _until_recorded(self, record: Callable[[], Awaitable[None]]) -> None:
        """The delivery stays in hand until the ledger knows how it ended."""
        while True:
            try:
                return await record()
            except LedgerDown:
                await asyncio.sleep(DOWN_PAUSE_S)

    async def _record(self, claimed: Claimed, outcome: Delivered | Failed, url: str) -> None:
        if isinstance(outcome, Failed):
            await self._record_failure(claimed, outcome, url)
            return
        if outcome.reply is not None and claimed.error is None:
            await self._reply(self.subscription.broker, outcome.reply, claimed.hops)
        await self._ledger.finish(claimed)

    async def _record_failure(self, claimed: Claimed, failed: Failed, url: str) -> None:
        delivery = self.subscription.delivery
        failures = claimed.failures + 1
        said = f"{failed.status}" if failed.status else "no answer"
        what = f"{claimed.event.attributes['type']} to {url}"
        if failed.retryable and failures <= delivery.retry:
            wait = max(pause(delivery, failures), failed.pause_s)
            _LOG.info("%s: %s; attempt %d of %d in %.1f s", what, said, failures + 1, delivery.retry + 1, wait)
            await self._ledger.postpone(claimed, failures, claimed.error, wait)
            self.wake(wait)
        elif claimed.error is None and self.subscription.dead_letter is not None:
            _LOG.warning("%s: %s; after %d attempts to the dead letter sink", what, said, failures)
            await self._ledger.postpone(claimed, 0, error_extensions(self.subscription.subscriber, failed), 0.0)
            self.wake()
        else:
            # As on a cluster, where an event without a working dead letter sink is gone.
            _LOG.error(
                "%s: %s; given up after %d attempts, event %s", what, said, failures, claimed.event.attributes["id"]
            )
            await self._ledger.finish(claimed)
