"""Kills, freezes and cuts, as the plan says, whatever runs at that moment."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from kn_model.local.data.postgres import unreachable
from tests.chaos.plan import AGAIN_WHILE_STARTING, Step
from tests.chaos.world import World

# A delivery waits as long as this for its frozen function, and goes on as if nothing had been.
LONGEST_FREEZE_S: Final = 4.0
# One freeze in so many outlives a file's lease (20 s): another worker takes the file over, then the first wakes up.
OUTLIVES_LEASE: Final = 0.93
OUTLIVING_S: Final = 24.0
# Where nothing of a kind runs just now (a function sleeps, PostgreSQL recovers), the same is tried again.
AGAIN_S: Final = 0.2

CONNECTIONS: Final = (
    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


class Killer:
    """Disturbs one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.done: Counter[str] = Counter()
        self.hindered: Counter[str] = Counter()
        self._frozen: set[asyncio.Task[None]] = set()

    async def kill(self, steps: Sequence[Step]) -> None:
        """All kills, one after another."""
        for step in steps:
            await asyncio.sleep(step.pause_s)
            while not await self._kill(step):  # noqa: ASYNC110  # another process cannot set an Event
                await asyncio.sleep(AGAIN_S)
            self.done[step.kind] += 1

    async def hinder(self, steps: Sequence[Step]) -> None:
        """All hindrances, one after another; one that finds nothing is left out."""
        for step in steps:
            await asyncio.sleep(step.pause_s)
            if step.kind == "freeze":
                self._freeze(step.pick)
            else:
                await self._terminate(step.pick)

    async def relent(self) -> None:
        """Let everything that is frozen go on."""
        for task in self._frozen:
            task.cancel()
        await asyncio.gather(*self._frozen, return_exceptions=True)

    async def _kill(self, step: Step) -> bool:
        if step.kind == "supervisor":
            await self._kill_supervisor(step)
            return True
        victims = candidates(self._world, step.kind)
        if not victims:
            return False
        # Immediate shutdown is SIGQUIT: no checkpoint, no goodbye; the next start replays the log.
        number = signal.SIGQUIT if step.kind == "postgres" else signal.SIGKILL
        return _signal(victims[int(step.pick * len(victims))], number)

    async def _kill_supervisor(self, step: Step) -> None:
        self._world.kill()
        starting = asyncio.create_task(self._world.start())
        if int(step.pick * 1000) % AGAIN_WHILE_STARTING == 0:
            await asyncio.sleep(step.pick * 3)
            if not starting.done() and self._world.process is not None:
                self._world.process.send_signal(signal.SIGKILL)
                self.hindered["start cut short"] += 1
        await starting

    def _freeze(self, pick: float) -> None:
        victims = [*candidates(self._world, "worker"), *candidates(self._world, "instance")]
        if victims:
            victim = victims[int(pick * 1000) % len(victims)]
            for_s = OUTLIVING_S if pick > OUTLIVES_LEASE else LONGEST_FREEZE_S * pick
            task = asyncio.create_task(self._frozen_for(victim, for_s))
            self._frozen.add(task)
            task.add_done_callback(self._frozen.discard)

    async def _frozen_for(self, pid: int, for_s: float) -> None:
        if not _signal(pid, signal.SIGSTOP):
            return
        self.hindered["frozen"] += 1
        try:
            await asyncio.sleep(for_s)
        finally:
            _signal(pid, signal.SIGCONT)

    async def _terminate(self, pick: float) -> None:
        with suppress(*unreachable(), KeyError):
            pids = [row["pid"] for row in await self._world.sql(CONNECTIONS)]
            if pids:
                await self._world.sql("SELECT pg_terminate_backend($1)", pids[int(pick * len(pids))])
                self.hindered["connection terminated"] += 1


def candidates(world: World, kind: str) -> list[int]:
    """Processes of a kind that run below the supervisor now, in the order of their ids."""
    with suppress(psutil.Error):
        if world.process is not None:
            return [one.pid for one in _family(psutil.Process(world.process.pid).children(), kind, world.logs)]
    return []


def _family(direct: Sequence[psutil.Process], kind: str, logs: Path) -> Sequence[psutil.Process]:
    if kind in ("worker", "instance"):
        instances = [process for process in direct if service_of(process.pid, logs)]
        return instances if kind == "instance" else [one for process in instances for one in process.children()]
    program = "weed" if kind == "s3" else "postgres"
    servers = [process for process in direct if process.name().startswith(program)]
    if kind == "backend":
        return [one for process in servers for one in process.children() if _is_backend(one)]
    return servers


def service_of(pid: int, logs: Path) -> str:
    """The service whose log a process writes; "" for another."""
    with suppress(OSError, ValueError):
        log = Path(f"/proc/{pid}/fd/1").readlink().relative_to(logs)
        return log.parts[0] if len(log.parts) > 1 else ""
    return ""


def writing_below(logs: Path) -> list[int]:
    """Every process that writes to a file below `logs`, whoever its parent is."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal() and (entry / "fd" / "1").readlink().is_relative_to(logs):
                found.append(int(entry.name))
    return found


def _is_backend(process: psutil.Process) -> bool:
    """`postgres: torpor torpor 127.0.0.1(4711) idle`: a connection's own process."""
    return "127.0.0.1(" in " ".join(process.cmdline())


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
