"""Gives calls to the instances of one revision, and holds calls while none is ready or has a place free.

`proxy.py` acquires and releases; `replicas.py` adds and removes instances. What must not race (choose an instance, count
the call, see that nobody is using it) happens between two awaits of one event loop, so a call either finds an instance
that stays or is held until the next one is ready: none falls between.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from kn_model.local.serving.instance import Instance, StartFailed
from kn_model.local.serving.meter import Meter

QUEUE_PER_REVISION: Final = 10_000
"""Calls held at most, as in Knative's activator (`pkg/activator/net/throttler.go` breakerQueueDepth)."""

Clock = Callable[[], float]


class Overloaded(Exception):
    """Too many calls are held for this revision."""


class NotStarting(Exception):
    """The revision's instances fail to start; the text says why, `retry_s` when the next try may happen."""

    def __init__(self, failure: StartFailed, retry_s: float) -> None:
        super().__init__(str(failure))
        self.reason = failure.reason
        self.retry_s = retry_s


class Activator:
    """The calls of one revision and the instances that take them."""

    def __init__(self, concurrency: int, need: Callable[[], None], clock: Clock = time.monotonic) -> None:
        """`concurrency` is the calls at once per instance, 0 for no limit.

        `need` is called for every call that has to wait: it sees to it that an instance is starting, or raises NotStarting.
        """
        self.ready: list[Instance] = []
        self.meter = Meter(clock())
        self._concurrency = concurrency
        self._need = need
        self._clock = clock
        self._held: deque[asyncio.Future[Instance]] = deque()

    @property
    def holding(self) -> bool:
        """Whether any call waits."""
        return any(not place.done() for place in self._held)

    async def acquire(self) -> Instance:
        """An instance that takes one more call; waits for one. Count it back with `release`.

        Raises Overloaded, or NotStarting when none can be had. Cancel it to give up waiting.
        """
        self.meter.opened(self._clock())
        try:
            # Those who wait go first.
            return (None if self.holding else self._choose()) or await self._hold()
        except BaseException:
            self.meter.closed(self._clock())
            raise

    def release(self, instance: Instance) -> None:
        """A call is over: a held one may have its place."""
        instance.in_flight -= 1
        self.meter.closed(self._clock())
        self._hand_out()

    def add(self, instance: Instance) -> None:
        """One more instance takes calls."""
        self.ready.append(instance)
        # Idle time starts here, not before: whoever started it should find it.
        self.meter.busy(self._clock())
        self._hand_out()

    def remove(self, instance: Instance) -> bool:
        """It takes no further call. False when it took none before."""
        if instance not in self.ready:
            return False
        self.ready.remove(instance)
        return True

    def refuse(self, failure: StartFailed, retry_s: float) -> None:
        """End the waiting of every held call with NotStarting."""
        while self._held:
            place = self._held.popleft()
            if not place.done():
                place.set_exception(NotStarting(failure, retry_s))

    def _choose(self) -> Instance | None:
        open_to_more = [one for one in self.ready if not self._concurrency or one.in_flight < self._concurrency]
        if not open_to_more:
            return None
        chosen = min(open_to_more, key=lambda one: one.in_flight)
        chosen.in_flight += 1
        return chosen

    async def _hold(self) -> Instance:
        if len(self._held) >= QUEUE_PER_REVISION:
            raise Overloaded
        self._need()
        place: asyncio.Future[Instance] = asyncio.get_running_loop().create_future()
        self._held.append(place)
        try:
            return await place
        except asyncio.CancelledError:
            self._gave_up(place)
            raise

    def _gave_up(self, place: asyncio.Future[Instance]) -> None:
        """A caller left; if it was given an instance in this very moment, that place is free again."""
        if place.done() and not place.cancelled() and place.exception() is None:
            place.result().in_flight -= 1
            self._hand_out()

    def _hand_out(self) -> None:
        while self._held:
            if self._held[0].done():
                self._held.popleft()
            elif chosen := self._choose():
                self._held.popleft().set_result(chosen)
            else:
                return
