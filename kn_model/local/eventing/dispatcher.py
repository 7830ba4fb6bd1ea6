"""Delivers what the ledger owes, one worker per Trigger, so that a slow subscriber delays nobody else's events.

Called by the broker. Nothing polls: an event that is accepted goes straight to its workers, and those sleep until one
comes, or until their next retry is due; one look at the ledger every few seconds covers leases that ran out, clock jumps
and triggers that are gone.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from kn_model.local.eventing.ledger import LEASE_S, Accepted, LedgerDown
from kn_model.local.eventing.owed import Owed
from kn_model.local.eventing.sender import Send
from kn_model.local.eventing.subscriptions import Subscription
from kn_model.local.eventing.worker import Reply, Worker

# How often leases are renewed and the ledger is asked for what nobody was woken for.
LOOK_S: Final = LEASE_S / 3

_LOG = logging.getLogger(__name__)


class Dispatcher:
    """All workers of one broker process."""

    def __init__(self, owed: Owed, send: Send, reply: Reply, now: Callable[[], datetime]) -> None:
        self._owed = owed
        self._send = send
        self._reply = reply
        self._now = now
        self._workers: dict[str, tuple[Worker, asyncio.Task[None]]] = {}
        # Triggers that are gone; what they were owed goes too, at once or when PostgreSQL is back.
        self._removed: set[str] = set()
        self._accepting: set[asyncio.Task[None]] = set()

    async def run(self, *, alone: bool = False) -> None:
        """Keep leases and look for due deliveries that nobody was woken for, until cancelled.

        alone: no other process dispatches from this ledger, so what is owed to a trigger that we do not know is
        owed to nobody.
        """
        while True:
            try:
                await self._look(alone=alone)
            except LedgerDown as error:
                _LOG.warning("the ledger was not looked at, PostgreSQL does not answer: %s", error)
            except Exception:  # noqa: BLE001 - told, and the next look comes: leases hang on it
                _LOG.exception("a look at the ledger met a bug; the next is in %.0f s", LOOK_S)
            await asyncio.sleep(LOOK_S)

    async def accept(self, accepted: Accepted) -> None:
        """Keep an event and deliver it. LedgerDown when it is not kept, or nobody knows.

        A caller who hangs up changes nothing about that.
        """
        work = asyncio.create_task(self._accept(accepted))
        self._accepting.add(work)
        work.add_done_callback(self._accepted)
        await asyncio.shield(work)

    def wake(self, trigger: str, wait_s: float = 0.0) -> None:
        """Something is due for a trigger, in `wait_s` seconds."""
        if found := self._workers.get(trigger):
            found[0].wake(wait_s)

    async def serve(self, subscriptions: Iterable[Subscription]) -> None:
        """Work for exactly these triggers from now on. A changed one keeps what it is owed, a removed one does not."""
        wanted = {each.key: each for each in subscriptions}
        gone = self._workers.keys() - wanted.keys()
        for key in gone:
            self._workers.pop(key)[1].cancel()
        self._removed = (self._removed | gone) - wanted.keys()
        for key, subscription in wanted.items():
            self._serve_one(key, subscription)
        for key in gone:
            await self._forget(key)

    async def stop(self) -> None:
        """Drop what is in hand; it is delivered again after the next start."""
        tasks = [task for _, task in self._workers.values()]
        self._workers.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _serve_one(self, key: str, subscription: Subscription) -> None:
        if found := self._workers.get(key):
            found[0].subscription = subscription
            return
        worker = Worker(subscription, self._owed, self._send, self._reply, self._now)
        self._workers[key] = (worker, asyncio.create_task(worker.run(), name=f"trigger {key}"))

    async def _accept(self, accepted: Accepted) -> None:
        reserved: Mapping[str, Worker] = {
            trigger: worker
            for trigger in accepted.triggers
            if trigger in self._workers and (worker := self._workers[trigger][0]).reserve()
        }
        in_hand = {}
        try:
            in_hand = {
                each.trigger: each for each in await self._owed.accept(replace(accepted, in_hand=reserved.keys()))
            }
        finally:
            for trigger, worker in reserved.items():
                worker.take(in_hand.get(trigger))
        for trigger in accepted.triggers:
            if trigger not in reserved:
                self.wake(trigger)

    def _accepted(self, work: "asyncio.Task[None]") -> None:
        self._accepting.discard(work)
        if not work.cancelled():
            work.exception()  # its caller has been told, or has gone away

    async def _look(self, *, alone: bool) -> None:
        await self._owed.renew(each for worker, _ in self._workers.values() for each in worker.in_hand)
        for trigger, wait in (await self._owed.waits()).items():
            if trigger not in self._workers:
                if alone or trigger in self._removed:
                    await self._forget(trigger)
            elif wait <= LOOK_S:  # later ones are seen again next time
                self.wake(trigger, wait)

    async def _forget(self, trigger: str) -> None:
        try:
            await self._owed.forget(trigger)
        except LedgerDown as error:
            _LOG.warning(
                "what the removed trigger %s was owed goes later, PostgreSQL does not answer: %s", trigger, error
            )
