"""One run: start, disturb, compare, tell. Called by the command and by the short test."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kn_model.local.data.postgres import Postgres
from kn_model.local.data.seaweed import Seaweed
from tests.faults import campaigns
from tests.faults.campaigns import Count
from tests.faults.hostile import Hostile
from tests.faults.stage import Stage, servers, stage, summary

Campaign = Callable[[Stage, random.Random, int], Awaitable[Count]]


@dataclass(frozen=True)
class Order:
    """What was asked for. lanes: functions that are killed side by side, each with its own database and bucket."""

    seed: int
    cuts: int
    kills: int
    flips: int
    lanes: int
    folder: Path

    @property
    def command(self) -> str:
        """What replays it."""
        counts = f"--cuts {self.cuts} --kills {self.kills} --flips {self.flips} --lanes {self.lanes}"
        return f"python -m tests.faults --seed {self.seed} {counts}"


@dataclass
class Report:
    """What came of it."""

    counts: list[Count] = field(default_factory=list)
    findings: Sequence[str] = ()

    @property
    def good(self) -> bool:
        """Nothing wrong was published, nothing is left over, everything came to its end."""
        return not self.findings


async def run(order: Order, say: Callable[[str], None]) -> Report:
    """All campaigns, one after the other; kills in lanes."""
    report = Report()
    say(f"{order.command}\nin {order.folder}")
    plan: Sequence[tuple[Campaign, int, int]] = [
        (campaigns.flips, order.flips, 1),
        (campaigns.cuts, order.cuts, 1),
        (campaigns.kills, order.kills, order.lanes),
    ]
    async with servers(order.folder) as (postgres, seaweed):
        for campaign, count, lanes in plan:
            if count:
                async with _stages(postgres, seaweed, campaign.__name__, lanes) as stages:
                    result = await _campaign(campaign, stages, order.seed, count)
                    report.findings = [*report.findings, *summary(stages)]
                report.counts.append(result)
                say(result.line())
    say(_verdict(report, order))
    return report


@contextlib.asynccontextmanager
async def _stages(postgres: Postgres, seaweed: Seaweed, name: str, lanes: int) -> AsyncIterator[Sequence[Stage]]:
    async with contextlib.AsyncExitStack() as opened:
        made = []
        for lane in range(lanes):
            hub = await opened.enter_async_context(Hostile().serving())
            made.append(await opened.enter_async_context(stage(postgres, seaweed, hub, f"{name}-{lane}")))
        yield made


async def _campaign(campaign: Campaign, stages: Sequence[Stage], seed: int, count: int) -> Count:
    """The lanes' shares side by side; then what they have left behind is looked for."""
    lanes = len(stages)
    shares = [count // lanes + (lane < count % lanes) for lane in range(lanes)]
    dices = [random.Random(f"{seed} {campaign.__name__} {lane}") for lane in range(lanes)]  # noqa: S311  # no secret
    work = [campaign(*each) for each in zip(stages, dices, shares, strict=True)]
    result, *others = await asyncio.gather(*work)
    for other in others:
        result.add(other)
    for each in stages:
        await each.sweep()
    return result


def _verdict(report: Report, order: Order) -> str:
    if report.good:
        return "0 wrong bytes published, 0 uploads left behind, 0 models stuck"
    return "\n".join(["FINDINGS", *(f"  {line}" for line in report.findings), f"kept: {order.folder}", order.command])
