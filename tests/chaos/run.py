"""One run: start, load and disturb, let it rest, compare, tell. Called by the command and by the short test."""

import asyncio
import shutil
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiohttp import ClientError, ClientSession, TCPConnector

from functions.kit.problem import Retry
from kn_model.local import ports
from kn_model.local.data.postgres import unreachable
from tests.chaos import audit, hub, plan, wire
from tests.chaos.api import Api
from tests.chaos.asked import Asked
from tests.chaos.audit import Load
from tests.chaos.events import Events
from tests.chaos.keys import Keys
from tests.chaos.killer import Killer
from tests.chaos.letters import Letters
from tests.chaos.models import Models
from tests.chaos.world import World

PROGRESS_S: Final = 10.0
# Lives of models side by side, and the pauses of each person between two commands.
LIVES: Final = 4
LIFE_PAUSE_S: Final = 1.0
KEY_PAUSE_S: Final = 1.5
LETTER_PAUSE_S: Final = 4.0
# The aim: at rest this long after the last fault.
AIM_S: Final = 30.0
# What has lost its worker is driven again 60 s later, at the next tick; a delivery may be in its longest pause (128 s).
PATIENCE_S: Final = 240.0
LOOK_S: Final = 1.0
# What is down may come back while we wait; a query that is wrong will not.
TROUBLE: Final = (*unreachable(), ClientError, Retry)


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for."""

    seed: int
    kills: int
    events: int
    minutes: float
    only: str | None = None
    folder: Path = Path()

    @property
    def longest_s(self) -> float:
        """No run takes this long unless something hangs."""
        return 60 * (4 * self.minutes + 3)

    @property
    def command(self) -> str:
        """What replays it."""
        only = f" --only {self.only}" if self.only else ""
        return (
            f"python -m tests.chaos --seed {self.seed} --kills {self.kills} --events {self.events}"
            f" --minutes {self.minutes:g}{only}"
        )


@dataclass
class Report:
    """What came of it."""

    order: Order
    figures: dict[str, str] = field(default_factory=dict)
    findings: Sequence[str] = ()

    @property
    def good(self) -> bool:
        """Nothing lost, doubled, stuck or left over."""
        return not self.findings

    def text(self) -> str:
        """For a person."""
        lines = [f"{name}: {value}" for name, value in self.figures.items()]
        if self.good:
            return "\n".join([*lines, "0 lost, 0 doubled, 0 stuck, nothing left over"])
        lines += ["FINDINGS", *(f"  {line}" for line in self.findings)]
        return "\n".join([*lines, f"kept: {self.order.folder}", f"replay: {self.order.command}"])


@dataclass
class Stage:
    """The parts of a running run."""

    order: Order
    world: World
    wire: wire.Wire
    killer: Killer
    load: Load
    began: float = field(default_factory=time.monotonic)
    handled: int = 0
    left: Counter[str] = field(default_factory=Counter)


async def run(order: Order) -> Report:
    """Start a runtime of its own, disturb it, compare. The folder goes when all is well."""
    report = Report(order)
    async with _stage(order) as stage:
        stage.world.prepare()
        await stage.world.start()
        telling = asyncio.create_task(_tell(stage))
        try:
            await _storm(stage)
            stage_s = time.monotonic() - stage.began
            rest_s, at_aim = await _rest(stage)
            report.findings = await audit.findings(stage.world, stage.load)
            given_up = await audit.given_up(stage.world)
        finally:
            telling.cancel()
        report.figures = _figures(stage, stage_s, rest_s, at_aim)
        report.figures["dead letters beside the poison, retries used up"] = _counts(given_up) or "none"
        await stage.world.stop()
        report.findings = [
            *report.findings,
            *(f"process after the end: {p}" for p in audit.orphan_processes(stage.world)),
        ]
    if report.good:
        shutil.rmtree(order.folder)
    return report


@asynccontextmanager
async def _stage(order: Order) -> AsyncIterator[Stage]:
    """All parts, made and connected; the world is killed when the block fails."""
    seed = order.seed
    hub.write(order.folder / "hub", plan.dice(seed, "repositories"))
    (port,) = ports.free(1)
    async with (
        hub.serving(order.folder / "hub", plan.dice(seed, "hub")) as hub_url,
        ClientSession(connector=TCPConnector(limit=0)) as session,
    ):
        world = World(order.folder, f"http://{ports.LOOPBACK}:{port}/torpor/default", hub_url)
        mischief = wire.Wire(world.front, plan.dice(seed, "wire"), session)
        api = Api(world, session)
        # The load is spread over the whole run, a little faster, since it waits while the broker is down.
        rate = max(10.0, 1.5 * order.events / (60 * order.minutes))
        load = Load(
            Events(world, mischief, seed, order.events, rate),
            Models(world, api, seed, plan.dice(seed, "models"), Asked(api, seed)),
            Keys(api, seed, plan.dice(seed, "keys")),
            Letters(api, plan.dice(seed, "letters")),
            api,
        )
        async with wire.proxy(mischief, port):
            try:
                yield Stage(order, world, mischief, Killer(world), load)
            except BaseException:
                world.kill()
                raise


async def _storm(stage: Stage) -> None:
    """Load and faults side by side; it ends when all kills are done and all events accepted."""
    order = stage.order
    # Starts of the runtime take their own time; what is left is shared by the kills.
    every_s = 0.75 * 60 * order.minutes / max(1, order.kills)
    steps = plan.kills(order.seed, order.kills, every_s, order.only)
    hindering = asyncio.create_task(stage.killer.hinder(plan.hindrances(order.seed, 100 * order.kills, 2 * every_s)))
    going = asyncio.Event()
    going.set()
    people = [asyncio.create_task(_repeat(going, stage.load.models.one, LIFE_PAUSE_S)) for _ in range(LIVES)]
    people.append(asyncio.create_task(_repeat(going, stage.load.keys.one, KEY_PAUSE_S)))
    people.append(asyncio.create_task(_repeat(going, stage.load.letters.one, LETTER_PAUSE_S)))
    sending = asyncio.create_task(stage.load.events.run())
    killing = asyncio.create_task(stage.killer.kill(steps))
    watching = asyncio.create_task(stage.world.watch())
    try:
        async with asyncio.timeout(order.longest_s):
            await _first_error(killing, sending, *people, hindering, watching)
            going.clear()
            hindering.cancel()
            await stage.killer.relent()
            stage.wire.calm = True
            await asyncio.gather(sending, *people)
            await stage.wire.quiet()
    except TimeoutError:
        stage.world.findings.append(f"the load was not through after {order.longest_s:.0f} s")
    finally:
        for task in (sending, killing, watching, hindering, *people):
            task.cancel()


async def _first_error(
    kills: "asyncio.Task[None]", sending: "asyncio.Task[None]", *others: "asyncio.Task[None]"
) -> None:
    """Wait for kills and events; whatever breaks ends the run at once."""
    pending = {kills, sending, *others}
    while not (kills.done() and sending.done()):
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


async def _repeat(going: asyncio.Event, one: Callable[[], Awaitable[None]], pause_s: float) -> None:
    while going.is_set():
        await one()
        await asyncio.sleep(pause_s)


async def _rest(stage: Stage) -> tuple[float, Mapping[str, int]]:
    """Seconds until all was at rest, and what was not after AIM_S. Gives up after PATIENCE_S without any progress."""
    began = moved = time.monotonic()
    at_aim, fewest = Counter[str](), sys.maxsize
    while (now := time.monotonic()) - moved < PATIENCE_S:
        with suppress(*TROUBLE):
            stage.left = Counter(await audit.unsettled(stage.world))
            if not stage.left:
                break
            if stage.left.total() < fewest:
                moved, fewest = now, stage.left.total()
        if now - began <= AIM_S:
            at_aim = stage.left
        await asyncio.sleep(LOOK_S)
    return now - began, at_aim if now - began > AIM_S else {}


async def _tell(stage: Stage) -> None:
    """A line every ten seconds."""
    while True:
        await asyncio.sleep(PROGRESS_S)
        with suppress(*TROUBLE, KeyError):
            stage.handled = (await stage.world.sql("SELECT count(*) AS n FROM inbox"))[0]["n"]
        sent, kills = stage.load.events, stage.killer.done
        say(
            f"{time.monotonic() - stage.began:5.0f} s  events {sent.begun} sent, {sent.accepted} accepted, "
            f"{stage.handled} handled | commands {stage.load.api.accepted}, models {len(stage.load.models.lives)} | "
            f"{kills.total()} kills: {_counts(kills)} | {len(stage.world.starts_s)} starts"
            + (f" | not at rest: {_counts(stage.left)}" if stage.left else "")
        )


def _figures(stage: Stage, stage_s: float, rest_s: float, at_aim: Mapping[str, int]) -> dict[str, str]:
    sent, api, world = stage.load.events, stage.load.api, stage.world
    starts = sorted(world.starts_s)
    hindered = stage.killer.hindered + stage.wire.done
    return {
        "command": stage.order.command,
        "time": f"{stage_s:.0f} s of faults, at rest {rest_s:.0f} s later",
        f"not at rest after {AIM_S:.0f} s": _counts(Counter(at_aim)) or "nothing",
        "kills": f"{stage.killer.done.total()} ({_counts(stage.killer.done)})",
        "also": _counts(hindered),
        "events": f"{sent.accepted + len(sent.poisoned)} accepted in {sent.tries} tries, {len(sent.poisoned)} of them poison",
        "commands": f"{api.accepted} accepted, {api.lost} tries whose outcome was lost; "
        f"{len(stage.load.models.lives)} models, {sum(len(life.servers) for life in stage.load.models.lives)} servers, "
        f"{len(stage.load.models.asked.accepted)} asynchronous calls, {len(stage.load.keys.made)} keys, {stage.load.letters.redriven} dead letters redriven",
        "starts": f"{len(starts)}, median {starts[len(starts) // 2]:.1f} s, longest {starts[-1]:.1f} s; {world.failed_starts} failed",
    }


def _counts(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counted.items()))


def say(line: str) -> None:
    """At once, also into a pipe."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
