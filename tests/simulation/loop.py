"""An asyncio event loop with a clock of its own: no sockets, no real sleep, and a seed that decides who runs next.

Called by `world`. Real code runs on it unchanged: `asyncio.sleep`, timeouts, tasks and futures are asyncio's own. asyncio
promises an order among callbacks that are ready at one moment, threads and processes do not; so it is picked at random.

A `Process` is what a kill -9 ends: its tasks never run again, and nothing of theirs is cleaned up.
"""

import asyncio
import contextvars
import heapq
import itertools
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, Final, TypeVarTuple

PROCESS: Final[contextvars.ContextVar["Process | None"]] = contextvars.ContextVar("PROCESS", default=None)
# Code that awaits in its clean-up needs more than one cancellation; what needs more than this many hangs for ever.
FUNERAL_ROUNDS: Final = 50

_Args = TypeVarTuple("_Args")


class Stuck(Exception):
    """Nothing is left to run and the simulation is not over"""


class Loop(asyncio.BaseEventLoop):
    """One thread of virtual time. `random` decides among the callbacks that are ready."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random.random
        self._now = 0.0
        self._timers: list[tuple[float, int, asyncio.Handle]] = []
        self._numbers = itertools.count()
        self._waiting: list[asyncio.Handle] = []
        # What a killed process would have run next: kept, so that its coroutines are closed at the end and not before.
        self._graveyard: list[asyncio.Handle] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._burying = False
        self.steps = 0
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """Seconds since the simulation began."""
        return self._now

    def call_soon(
        self, callback: Callable[[*_Args], object], *args: *_Args, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Run it at this moment of virtual time, after or before whatever else is ready."""
        handle = asyncio.Handle(callback, args, self, context)
        self._waiting.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Args], object],
        *args: *_Args,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run it `delay` virtual seconds from now."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Args], object],
        *args: *_Args,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run it at a virtual time."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` to its end, then close every coroutine that is still open, those of the dead too."""
        try:
            self.run_until_complete(work)
        finally:
            self._bury()
            self.close()

    def _make_task(self, _: asyncio.AbstractEventLoop, work: Any, **more: Any) -> "asyncio.Task[Any]":
        # Referenced for as long as the simulation runs: a garbage collector that closes a coroutine runs its clean-up.
        task = asyncio.Task(work, loop=self, **more)
        self._tasks.append(task)
        return task

    def _run_once(self) -> None:
        ready = self._waiting or self._advance()
        index = int(self._random() * len(ready))
        handle = ready[index]
        ready[index] = ready[-1]
        ready.pop()
        if handle._cancelled:
            return
        process = handle._context.get(PROCESS)  # type: ignore[attr-defined]
        if process is None or self._burying:
            handle._run()
        elif not process.alive:
            self._graveyard.append(handle)
        elif process.asleep_until > self._now:
            heapq.heappush(self._timers, (process.asleep_until, next(self._numbers), handle))
        else:
            handle._run()
        self.steps += 1

    def _advance(self) -> list[asyncio.Handle]:
        """Go on to the next moment at which something is due."""
        while self._timers:
            when, _, timer = heapq.heappop(self._timers)
            if not timer._cancelled:
                self._now = max(self._now, when)
                self._waiting.append(timer)
                return self._waiting
        raise Stuck

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing to count: a cancelled timer is skipped when its time comes."""

    def _bury(self) -> None:
        """Cancel what is left until nothing is; time stands still."""
        self._burying = True
        self.set_exception_handler(lambda _, __: None)
        asyncio.events._set_running_loop(self)
        try:
            self._waiting.extend(self._graveyard)
            for _ in range(FUNERAL_ROUNDS):
                if not (left := [task for task in self._tasks if not task.done()]):
                    break
                for task in left:
                    task.cancel()
                while self._waiting:
                    self._run_once()
        finally:
            asyncio.events._set_running_loop(None)
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.exception()  # looked at, so that nobody reports it as never retrieved


class Process:
    """What a kill ends at once. Its tasks, and the tasks, timers and callbacks that they make, belong to it."""

    def __init__(self, loop: Loop, name: str) -> None:
        self.loop = loop
        self.name = name
        self.alive = True
        self.asleep_until = 0.0
        self._at_death: list[Callable[[], None]] = []
        self._context = contextvars.Context()
        self._context.run(PROCESS.set, self)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run a coroutine as part of this process."""
        return self.loop.create_task(work, context=self._context.copy())

    def at_death(self, told: Callable[[], None]) -> None:
        """`told` is what the rest of the world notices: connections that break."""
        self._at_death.append(told)

    def sleep(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later: a laptop that is closed, a container that gets no processor."""
        self.asleep_until = max(self.asleep_until, self.loop.time() + seconds)

    def kill(self) -> None:
        """SIGKILL."""
        self.alive = False
        for told in self._at_death:
            told()


def here() -> Process | None:
    """The process that the running code belongs to; None for the world itself."""
    return PROCESS.get()


def outside() -> contextvars.Context:
    """A context that belongs to no process: for callbacks of the network and the database server."""
    context = contextvars.copy_context()
    context.run(PROCESS.set, None)
    return context
