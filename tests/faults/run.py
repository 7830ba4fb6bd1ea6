"""One run: start, disturb, compare, tell. Called by the command and by the short test."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kn_model.local.data.postgres import Postgres
from kn_model.local.data.seaweed import Seaweed
from tests.faults import campaigns
from tests.faults.campaigns import Count
from tests.faults.hostile import Hostile
from tests.faults.stage import Stage, servers, stage, summary

Campaign = Callable[[Stage, random.Random, int, Count], Awaitable[None]]
Say = Callable[[str], None]
# How often a run says how far it is.
PROGRESS_S: Final = 30.0
# Instances that are at one file together.
SHARING: Final = 3


@dataclass(frozen=True)
class Order:
    """What was asked for. lanes: functions that are killed side by side, each with its own database and bucket.

    shared: kills of instances that are at one file together.
    """

    seed: int
    cuts: int
    kills: int
    flips: int
    lanes: int
    shared: int
    folder: Path

    @property
    def command(self) -> str:
        """What replays it."""
        counts = f"--cuts {self.cuts} --kills {self.kills} --flips {self.flips} --shared {self.shared}"
        return f"python -m tests.faults --seed {self.seed} {counts} --lanes {self.lanes}"


@dataclass
class Report:
    """What came of it."""

    counts: list[Count] = field(default_factory=list)
    findings: Sequence[str] = ()

    @property
    def good(self) -> bool:
        """Nothing wrong was published, nothing is left over, everything came to its end."""
        return not self.findings


async def run(order: Order, say: Say) -> Report:
    """All campaigns, one after the other; kills in lanes."""
    report = Report()
    say(f"{order.command}\nin {order.folder}")
    plan: Sequence[tuple[str, Campaign, int, int, int]] = [
        ("flipped bits", campaigns.flips, order.flips, 1, 1),
        ("cuts", campaigns.cuts, order.cuts, 1, 1),
        ("kills", campaigns.kills, order.kills, order.lanes, 1),
        ("kills at shared files", campaigns.kills, order.shared, 1, SHARING),
    ]
    async with servers(order.folder) as (postgres, seaweed):
        for name, campaign, count, lanes, instances in plan:
            if count:
                results = [Count(name) for _ in range(lanes)]
                async with (
                    _stages(postgres, seaweed, f"{campaign.__name__}-{instances}", lanes, instances) as stages,
                    _telling(results, count, say),
                ):
                    await _campaign(campaign, stages, order.seed, results, count)
                    report.findings = [*report.findings, *summary(stages)]
                result, *others = results
                for other in others:
                    result.add(other)
                report.counts.append(result)
                say(result.line())
    say(_verdict(report, order))
    return report


@contextlib.asynccontextmanager
async def _stages(
    postgres: Postgres, seaweed: Seaweed, name: str, lanes: int, instances: int
) -> AsyncIterator[Sequence[Stage]]:
    async with contextlib.AsyncExitStack() as opened:
        made = []
        for lane in range(lanes):
            hub = await opened.enter_async_context(Hostile().serving())
            made.append(await opened.enter_async_context(stage(postgres, seaweed, hub, f"{name}-{lane}", instances)))
        yield made


async def _campaign(
    campaign: Campaign, stages: Sequence[Stage], seed: int, results: Sequence[Count], count: int
) -> None:
    """The lanes' shares side by side; then what they have left behind is looked for."""
    lanes = len(stages)
    shares = [count // lanes + (lane < count % lanes) for lane in range(lanes)]
    dices = [random.Random(f"{seed} {campaign.__name__} {lane}") for lane in range(lanes)]  # noqa: S311  # no secret
    await asyncio.gather(*(campaign(*each) for each in zip(stages, dices, shares, results, strict=True)))
    for each in stages:
        await each.sweep()


@contextlib.asynccontextmanager
async def _telling(results: Sequence[Count], count: int, say: Say) -> AsyncIterator[None]:
    """How far it is, now and then, while the context is open."""

    async def tell() -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            say(f"  {sum(each.faults for each in results)} of {count} {results[0].name}")

    telling = asyncio.create_task(tell())
    try:
        yield
    finally:
        telling.cancel()


def _verdict(report: Report, order: Order) -> str:
    if report.good:
        return "0 wrong bytes published, 0 uploads left behind, 0 models stuck"
    return "\n".join(["FINDINGS", *(f"  {line}" for line in report.findings), f"kept: {order.folder}", order.command])
