"""All instances of one revision: how many there are, and what becomes of each.

Made by `reconciler.py`, one per revision. The number comes from `autoscaler.py`; calls get to instances by `activator.py`.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from kn_model.local.objects.conditions import timestamp
from kn_model.local.objects.kinds import Object
from kn_model.local.serving import memory
from kn_model.local.serving.activator import Activator, Clock, NotStarting
from kn_model.local.serving.autoscaler import TICK_S, Load, Policy, decide
from kn_model.local.serving.instance import Instance, StartFailed
from kn_model.local.serving.launcher import Launches

log = logging.getLogger(__name__)

BACK_OFF_S: Final = 1.0
BACK_OFF_MAX_S: Final = 60.0
"""Waits between failed starts: doubling from 1 s. A kubelet doubles from 10 s to 300 s, for many tenants; here one waits."""
SETTLED_S: Final = 10.0
"""An instance that ends sooner than this after it was ready counts as a failed start, or a crash would spin.
The first such end is forgiven: an instance that somebody killed is replaced at once."""
GAVE_UP: Final = "ProgressDeadlineExceeded"
"""Knative's reason when the initial scale was not reached in time; nothing is tried after it."""
DRAIN_LOOK_S: Final = 0.1
"""How often a draining instance is looked at: the end of its last call is not announced."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a revision's spec says about its instances."""

    policy: Policy
    concurrency: int
    """Calls at once per instance at most; 0 is no limit."""
    start_s: float
    """Seconds that an instance may take to become ready: `progress-deadline`."""
    drain_s: float
    """Seconds that calls in flight get when an instance is let go: `timeoutSeconds`."""


@dataclass(frozen=True, slots=True)
class State:
    """What a revision's status says about its replicas."""

    ready: int
    desired: int
    achieved: bool
    """Whether the initial scale was reached once; from then on the revision is Ready even at zero."""
    failure: StartFailed | None
    """Why the last start failed, until one succeeds."""


WAKING: Final = State(ready=0, desired=1, achieved=True, failure=None)
"""Between a call and the replica that it has to wait for."""


class Replicas:
    """The instances of one revision. `changed` is called whenever `state` may read differently."""

    def __init__(  # noqa: PLR0913  # what a revision is, what it may do, and three edges that tests replace
        self,
        revision: Object,
        limits: Limits,
        launcher: Launches,
        *,
        achieved: bool = False,
        changed: Callable[[], None] = lambda: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.revision = revision
        self.limits = limits
        self.reachable = True
        """Whether a route or tag leads here."""
        self.activator = Activator(limits.concurrency, self._ensure_one, clock)
        self._launcher = launcher
        self._achieved = achieved
        self._changed = changed
        self._clock = clock
        self._starting = 0
        self._running: set[Instance] = set()
        self._desired = 0
        self._failure: StartFailed | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._deadline = clock() + limits.start_s
        self._panic_since: float | None = None
        self._woken_at = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None

    def state(self) -> State:
        """How it stands now."""
        return State(len(self.activator.ready), self._desired, self._achieved, self._failure)

    def woken_at(self) -> str:
        """When it was last woken from zero, RFC 3339, once it is awake; said once, an empty text otherwise.

        Told late on purpose: a status that changed while it starts would start those who listen beside it.
        """
        if not self.activator.ready:
            return ""
        at, self._woken_at = self._woken_at, ""
        return at

    def wake(self) -> None:
        """Look at once instead of at the next tick: after a start of the runtime and after every change of routes."""
        if not self._achieved or self._current() or self._desired or self.limits.policy.min_scale:
            self._look()
            self._tick_on()

    @property
    def backing_off(self) -> bool:
        """Whether the next start has to wait, since the last ones failed."""
        return self._clock() < self._retry_at

    def lost(self, instance: Instance) -> None:
        """Nobody listens there any more: a call was refused by the machine itself."""
        if self.activator.remove(instance):
            instance.kill("ConnectionRefused")

    async def stop(self, grace_s: float) -> None:
        """End all instances, those that still start as well; held calls are refused."""
        self.activator.refuse(StartFailed("Stopped", "the revision is going away"), 1)
        self.activator.ready.clear()
        running = list(self._running)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *(one.stop(grace_s) for one in running), return_exceptions=True)

    # --- how many ---

    def _ensure_one(self) -> None:
        """A call has to wait: something must be on its way."""
        if self._current():
            return
        wait_s = self._retry_at - self._clock()
        if self._failure and wait_s > 0:
            raise NotStarting(self._failure, wait_s)
        self.scale_to(max(1, self.limits.policy.min_scale))
        self._tick_on()

    def _look(self) -> None:
        if not self._achieved:
            self._reach_initial_scale()
            return
        decision = decide(self.limits.policy, self._load(), self._clock())
        self._panic_since = decision.panic_since
        self.scale_to(decision.scale)

    def _reach_initial_scale(self) -> None:
        if self.limits.policy.initial_scale == 0:
            self._achieved = True
            self._changed()
            return
        if self._failure and self._failure.reason == GAVE_UP:
            return
        if self._failure and self._clock() > self._deadline:
            self._desired = 0
            message = f"Initial scale was never achieved. {self._failure}"
            self._failure = StartFailed(GAVE_UP, message)
            self._changed()
        else:
            self.scale_to(self.limits.policy.initial_scale)

    def scale_to(self, wanted: int) -> None:
        """Start what is missing (unless it backs off), let go of what is too much; the next tick may decide otherwise."""
        if wanted and self._achieved and not self._current():
            self._woken_at = timestamp()
        self._desired = wanted
        if not self.backing_off:
            for _ in range(wanted - self._current()):
                self._starting += 1
                self._spawn(self._live())
        by_calls = sorted(self.activator.ready, key=lambda one: one.in_flight)
        for idle in by_calls[: max(0, len(by_calls) - wanted)]:
            self.activator.remove(idle)
            self._spawn(self._drain(idle))
            self._changed()

    def _current(self) -> int:
        return len(self.activator.ready) + self._starting

    def _load(self) -> Load:
        meter = self.activator.meter
        return Load(
            samples=meter.samples,
            ready=len(self.activator.ready),
            open_calls=meter.open_calls,
            last_busy=meter.last_busy(self._clock()),
            reachable=self.reachable,
            panic_since=self._panic_since,
            current=self._current(),
        )

    # --- ticks: only while there is something to decide ---

    def _tick_on(self) -> None:
        if self._ticker is None or self._ticker.done():
            self._ticker = self._spawn(self._tick())

    async def _tick(self) -> None:
        rules = self.limits.policy
        while self._running or self._starting or self._desired or self.activator.holding:
            await asyncio.sleep(TICK_S)
            self.activator.meter.sample(self._clock(), keep_s=rules.window_s + rules.scale_down_delay_s)
            self._hold_to_memory_limit()
            self._look()

    def _hold_to_memory_limit(self) -> None:
        for instance in self._running:
            limit = instance.plan.memory_limit
            if limit and memory.held(instance.process.pid) > limit:
                instance.kill("OOMKilled")

    # --- the life of one instance ---

    async def _live(self) -> None:
        try:
            instance = await self._started()
        except StartFailed as failure:
            self._starting -= 1
            self._failed(failure)
            return
        self._starting -= 1
        self._achieved, self._failure, self._retry_at = True, None, 0.0
        self.activator.add(instance)
        self._changed()
        since = self._clock()
        await self._until_it_ends(instance)
        if self.activator.remove(instance) or instance.killed_because:
            self._ended_by_itself(instance, self._clock() - since)

    async def _started(self) -> Instance:
        instance = await self._launcher.launch(self.revision)
        self._running.add(instance)
        instance.ended.add_done_callback(lambda _: self._running.discard(instance))
        try:
            await instance.ready(self.limits.start_s)
        except BaseException:
            await instance.stop()
            raise
        return instance

    async def _until_it_ends(self, instance: Instance) -> None:
        liveness = asyncio.create_task(instance.fails_liveness())
        try:
            await asyncio.wait({liveness, instance.ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            liveness.cancel()
        if not instance.ended.done():
            instance.kill("LivenessProbeFailed")
            await instance.ended

    def _ended_by_itself(self, instance: Instance, lived_s: float) -> None:
        failure = instance.failure()
        log.warning("instance %s ended after %.0f s: %s", instance.name, lived_s, failure)
        self._spawn(instance.stop())
        self._failures = 0 if lived_s >= SETTLED_S else self._failures + 1
        # One that we had to kill has a cause that stays; who killed another one, nobody knows.
        if self._failures > 1 or (self._failures and instance.killed_because):
            self._failure = failure
        if self._failures > 1:
            self._back_off(failure)
        elif self.activator.holding:
            self._ensure_one()
        self._changed()

    def _failed(self, failure: StartFailed) -> None:
        """A start did not succeed."""
        self._failures += 1
        self._failure = failure
        self._back_off(failure)
        self._changed()

    def _back_off(self, failure: StartFailed) -> None:
        wait_s = min(BACK_OFF_MAX_S, BACK_OFF_S * 2.0 ** min(self._failures - 1, 10))
        self._retry_at = self._clock() + wait_s
        if not self._current():
            self.activator.refuse(failure, wait_s)

    async def _drain(self, instance: Instance) -> None:
        deadline = self._clock() + self.limits.drain_s
        while instance.in_flight and self._clock() < deadline and not instance.ended.done():  # noqa: ASYNC110  # rare
            await asyncio.sleep(DRAIN_LOOK_S)
        await instance.stop()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
