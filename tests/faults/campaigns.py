"""The three campaigns: cuts, kills and flipped bits. Each runs on one stage and answers what it counted."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from functions.download.layout import STRETCH_PARTS
from functions.download.stretches import SHARED_FROM
from tests.faults.hostile import Answer, Asked, Shared, tensor_file
from tests.faults.stage import PART_BYTES, Stage
from tests.faults.worker import Function

# Parts of a file; the last one is broken off anywhere.
MOST_PARTS: Final = 4
# Of one that several instances share.
SHARED_PARTS: Final = SHARED_FROM * STRETCH_PARTS
# Cuts at random bytes of a file, beside one at each of its part borders.
RANDOM_CUTS: Final = 18
# A kill falls within one of these of the moment in which an instance listens, or in most cases asks for its first bytes.
HORIZONS_S: Final = (0.3, 1.0, 3.0)
AT_START: Final = 0.1
UNDER_WAY: Final = 0.7
# For an instance that has nothing to ask for: all is in S3, and what is left is to verify and to publish.
NOTHING_ASKED_S: Final = 1.5


@dataclass
class Count:
    """What a campaign did, and what it cost.

    twice: for each fault, the parts' worth of bytes that had been sent since the fault before and were sent again later.
    """

    name: str
    faults: int = 0
    models: int = 0
    seconds: float = 0.0
    twice: list[float] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)

    def ended(self, outcome: str, file: Shared, faults: Sequence[int]) -> None:
        """One model is through. faults: how many answers the hub had begun at each of them."""
        self.models += 1
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        marks = [0, *faults]
        for begin, end in pairwise(marks):
            self.twice.append(_overlap(file.sent[begin:end], file.sent[end:]) / PART_BYTES)

    def add(self, other: "Count") -> None:
        """What another lane of the same campaign counted, at the same time."""
        self.faults += other.faults
        self.models += other.models
        self.seconds = max(self.seconds, other.seconds)
        self.twice += other.twice
        for outcome, count in other.outcomes.items():
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + count

    def line(self) -> str:
        """For a person."""
        outcomes = ", ".join(f"{count} {name}" for name, count in sorted(self.outcomes.items()))
        line = f"{self.name}: {self.faults} faults in {self.models} models ({outcomes}), {self.seconds:.0f} s"
        if not self.twice:
            return line
        most, mean = max(self.twice), sum(self.twice) / len(self.twice)
        within = sum(each <= 1 for each in self.twice) / len(self.twice)
        return f"{line}; fetched twice: {mean:.2f} parts per fault, at most one at {within:.1%} of them, the worst {most:.2f}"


def _overlap(before: Sequence[tuple[int, int]], after: Sequence[tuple[int, int]]) -> int:
    """Bytes of the first spans, each counted once, that are in the second as well."""
    return sum(
        max(0, min(end, until) - max(start, since)) for start, end in _union(before) for since, until in _union(after)
    )


def _union(spans: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    """The same bytes in spans that do not touch."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        elif start < end:
            joined.append((start, end))
    return joined


def new_file(stage: Stage, dice: random.Random, name: str, parts: float) -> Shared:
    """A repository of one file of about so many parts."""
    return stage.hub.share(name, tensor_file(max(4096, int(parts * PART_BYTES)), dice))


async def cuts(stage: Stage, dice: random.Random, count: int, result: Count) -> None:
    """Cut connections: at every border of a part, and at random bytes, each place once. Every model has to arrive."""
    started = time.monotonic()
    planned: dict[str, list[int]] = {}
    marks: dict[str, list[int]] = {}
    stage.hub.behave = lambda asked: _cut(asked, planned[asked.repository], marks[asked.repository])
    while result.faults < count:
        name = f"cut-{result.models}"
        file = new_file(stage, dice, name, dice.uniform(1.1, MOST_PARTS))
        size = len(file.content)
        places = {*range(0, size, PART_BYTES), *(dice.randrange(size) for _ in range(RANDOM_CUTS))}
        planned[name] = wanted = sorted(dice.sample(sorted(places), min(len(places), count - result.faults)))
        marks[name] = []
        total = len(wanted)
        model = await stage.ask(name)
        row = await stage.ended(model)
        await stage.inspect(model, file)
        result.faults += total - len(wanted)
        result.ended(row["error_code"] or row["status"], file, marks[name])
        if row["status"] != "available":
            stage.wrong.append(f"{model} after {total} cuts: {dict(row)}")
        stage.hub.forget(name)
    result.seconds = time.monotonic() - started


def _cut(asked: Asked, places: list[int], marks: list[int]) -> Answer | None:
    """Up to the next place that is still to be cut, which is done with then."""
    for place in places:
        if asked.start <= place < asked.end:
            places.remove(place)
            marks.append(asked.before + 1)
            answer = Answer.of(asked)
            answer.cut_after = place - asked.start
            return answer
    return None


async def kills(stage: Stage, dice: random.Random, count: int, result: Count) -> None:
    """Kill instances at random moments; what is left over is taken up by the next ones, and every model arrives.

    Where there are several, they share the file, and some or all of them are killed at once.
    """
    started = time.monotonic()
    least, most = (0.3, MOST_PARTS) if len(stage.instances) == 1 else (SHARED_PARTS, 1.2 * SHARED_PARTS)
    while result.faults < count:
        name, marks = f"kill-{stage.instances[0].port}-{result.models}", list[int]()
        file = new_file(stage, dice, name, dice.uniform(least, most))
        model = await stage.ask(name)
        while (await stage.status(model))["status"] == "downloading" and result.faults < count:
            victims = dice.sample(stage.instances, dice.randint(1, len(stage.instances)))
            await _moment(victims[0], dice, file)
            for victim in victims:
                victim.kill()
            result.faults += len(victims)
            marks.append(len(file.sent))
            await stage.forget_leases()
            stage.tick()
            for victim in victims:
                victim.start()
        row = await stage.ended(model)
        await stage.inspect(model, file)
        result.ended(row["error_code"] or row["status"], file, marks)
        if row["status"] != "available":
            stage.wrong.append(f"{model} after {len(marks)} kills: {dict(row)}")
        stage.hub.forget(name)
    result.seconds = time.monotonic() - started


async def _moment(victim: Function, dice: random.Random, file: Shared) -> None:
    """Wait for a moment to kill: while the instance starts, when it listens, when bytes have been asked for."""
    before, kind = len(file.sent), dice.random()
    if kind > AT_START:
        await victim.listens()
    if kind > 1 - UNDER_WAY:
        for _ in range(int(NOTHING_ASKED_S / 0.02)):
            if len(file.sent) > before:
                break
            await asyncio.sleep(0.02)
    await asyncio.sleep(dice.uniform(0.0, dice.choice(HORIZONS_S)))


async def flips(stage: Stage, dice: random.Random, count: int, result: Count) -> None:
    """Flip one bit of a file on its way: it has to be refused by its digest, and the same file has to arrive unflipped."""
    started = time.monotonic()
    flipped: dict[str, int] = {}
    stage.hub.behave = lambda asked: _flip(asked, flipped.get(asked.repository, -1))
    while result.faults < count:
        name = f"flip-{result.models}"
        file = new_file(stage, dice, name, dice.choice([0.01, 0.1, 0.5, 1.0, 2.2]))
        flipped[name] = dice.randrange(8 * len(file.content))
        model = await stage.ask(name)
        row = await stage.ended(model)
        await stage.inspect(model, file)
        result.faults += 1
        result.ended(row["error_code"] or row["status"], file, [])
        if row["status"] != "failed" or file.promised not in row["error"]:
            stage.wrong.append(f"{model} with bit {flipped[name]} flipped: {dict(row)}")
        del flipped[name]
        if result.faults % 5 == 0:
            again = await stage.ask(name)
            if (await stage.ended(again))["status"] != "available":
                stage.wrong.append(f"{again}, honest after a flip: {dict(await stage.status(again))}")
            await stage.inspect(again, file)
        stage.hub.forget(name)
    result.seconds = time.monotonic() - started


def _flip(asked: Asked, bit: int) -> Answer | None:
    if not 8 * asked.start <= bit < 8 * asked.end:
        return None
    body = bytearray(asked.honest)
    body[bit // 8 - asked.start] ^= 1 << bit % 8
    return Answer.of(asked, bytes(body))
