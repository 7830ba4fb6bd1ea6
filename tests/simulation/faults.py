"""What goes wrong in a run, and when: drawn from the seed. Every run has some of the faults, none of them for ever."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from tests.simulation import processes

if TYPE_CHECKING:
    from tests.simulation.world import World

DAY_S: Final = 86400.0
# How long a killed process is away, and how long a stopped or hanging database is: mostly short, sometimes past every
# timeout and back-off.
RESTART_S: Final = (0.2, 1.0, 5.0, 40.0)
HANG_S: Final = (0.5, 5.0, 30.0)
RATES: Final = (0.0, 0.0, 0.02, 0.1)


@dataclass(frozen=True, slots=True)
class Plan:
    """How bad a run is: kinds of faults with their number, and rates per call or statement."""

    lossy: bool
    instances: int
    commands: int
    duration_s: float
    poison: float
    function_kills: int
    broker_kills: int
    pauses: int
    database_stops: int
    database_hangs: int
    partitions: int
    clock_jumps: int
    lost: float
    answer_lost: float
    doubled: float
    statement_cut: float
    cluster_failing: float


def plan(random: Random) -> Plan:
    """Each fault is there in about half of the runs: what never happens together hides what only happens alone."""

    def some(most: int) -> int:
        return random.randint(1, most) if random.random() < 0.5 else 0

    return Plan(
        lossy=random.random() < 0.35,
        instances=random.choice((1, 2, 3)),
        commands=random.randint(3, 9),
        duration_s=random.choice((5.0, 30.0, 90.0)),
        poison=random.choice((0.0, 0.0, 0.25)),
        function_kills=some(8),
        broker_kills=some(4),
        pauses=some(3),
        database_stops=some(3),
        database_hangs=some(2),
        partitions=some(3),
        clock_jumps=some(2) if random.random() < 0.4 else 0,
        lost=random.choice(RATES),
        answer_lost=random.choice(RATES),
        doubled=random.choice(RATES),
        statement_cut=random.choice((0.0, 0.0, 0.01)),
        cluster_failing=random.choice(RATES),
    )


def start(world: "World") -> list["asyncio.Task[None]"]:
    """Rates from now on, and one task per fault."""
    plan, network = world.plan, world.network
    network.lost, network.answer_lost, network.doubled = plan.lost, plan.answer_lost, plan.doubled
    world.server.cut_rate, world.cluster.failing = plan.statement_cut, plan.cluster_failing
    kinds: list[tuple[Callable[[World], Awaitable[None]], int]] = [
        (_kill_function, plan.function_kills),
        (_kill_broker, plan.broker_kills),
        (_pause, plan.pauses),
        (_stop_database, plan.database_stops),
        (_hang_database, plan.database_hangs),
        (_cut_off, plan.partitions),
        (_set_clock, plan.clock_jumps),
    ]
    return [world.loop.create_task(_later(world, fault)) for fault, count in kinds for _ in range(count)]


def heal(world: "World") -> None:
    """No more faults; what is away is back already, since every fault mends itself."""
    network = world.network
    network.lost = network.answer_lost = network.doubled = network.slow = 0.0
    world.server.cut_rate = world.cluster.failing = 0.0


async def _later(world: "World", fault: Callable[["World"], Awaitable[None]]) -> None:
    # Faults go on for a while after the last command, since its chain is still under way then.
    await asyncio.sleep(world.random.random() * (world.plan.duration_s + 20.0))
    await fault(world)


async def _kill_function(world: "World") -> None:
    name = world.random.choice(("download", "download", "serve", "status"))
    await _kill(world, name, lambda: world.start_function(name))


async def _kill_broker(world: "World") -> None:
    await _kill(world, "broker", world.start_broker)


async def _pause(world: "World") -> None:
    running = [process for processes in world.running.values() for process in processes if process.name != "source"]
    if not running:
        return  # everything is dead at this moment
    paused, pause_s = world.random.choice(running), world.random.random() * world.random.choice(HANG_S)
    world.trace.note("pause", f"{paused.name} for {pause_s:.1f} s")
    paused.sleep(pause_s)
    await asyncio.sleep(pause_s)


async def _kill(world: "World", name: str, start: Callable[[], object]) -> None:
    if running := world.running[name]:
        world.kill(world.random.choice(running))
        await asyncio.sleep(world.random.random() * world.random.choice(RESTART_S))
        start()


async def _stop_database(world: "World") -> None:
    if not world.server.up:
        return
    world.trace.note("stop", "of the database, immediate")
    world.server.stop_immediately()
    await asyncio.sleep(world.random.random() * world.random.choice(RESTART_S))
    world.server.start()
    world.trace.note("mended", "the database is back")


async def _hang_database(world: "World") -> None:
    hangs_s = world.random.random() * world.random.choice(HANG_S)
    world.trace.note("hang", f"of the database, for {hangs_s:.1f} s")
    world.server.hangs_until = max(world.server.hangs_until, world.loop.time() + hangs_s)
    await asyncio.sleep(hangs_s)


async def _cut_off(world: "World") -> None:
    name = world.random.choice(("download", "serve", "status", "broker"))
    address = processes.BROKER_HOST if name == "broker" else processes.host(name)
    world.trace.note("cut", f"{name} cannot be reached")
    world.network.cut_off.add(address)
    await asyncio.sleep(world.random.random() * world.random.choice(HANG_S))
    world.network.cut_off.discard(address)
    world.trace.note("mended", f"{name} can be reached")


async def _set_clock(world: "World") -> None:
    jump_s = world.random.choice((-DAY_S, DAY_S, -3600.0, 3600.0, -5.0, 5.0))
    world.trace.note("clock", f"of the database set by {jump_s:.0f} s")
    world.server.clock_s += jump_s
