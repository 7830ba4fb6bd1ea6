"""The three campaigns: cuts, kills and flipped bits. Each runs on one stage and answers what it counted."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.faults.hostile import Answer, Asked, Shared, tensor_file
from tests.faults.stage import PART_BYTES, Stage

# Parts of a file; the last one is broken off anywhere.
MOST_PARTS: Final = 4
# Cuts at random bytes of a file, beside one at each of its part borders.
RANDOM_CUTS: Final = 18
# A kill falls within this of the start of an instance: most of a transfer's life.
HORIZON_S: Final = 1.0


@dataclass
class Count:
    """What a campaign did, and what it cost, in parts' worth of bytes that were fetched.

    lost: for each fault, what had been fetched and was in S3 in no form afterwards. again: what S3 had and was fetched again.
    """

    name: str
    faults: int = 0
    models: int = 0
    seconds: float = 0.0
    lost: list[float] = field(default_factory=list)
    again: float = 0.0
    outcomes: dict[str, int] = field(default_factory=dict)

    def ended(self, outcome: str, file: Shared, lost: Sequence[float] = ()) -> None:
        """One model is through, with what each of its faults lost."""
        self.models += 1
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        self.lost += lost
        if outcome == "available":
            self.again += max(0.0, (file.sent_bytes - len(file.content)) / PART_BYTES - sum(lost))

    def add(self, other: "Count") -> None:
        """What another lane of the same campaign counted, at the same time."""
        self.faults += other.faults
        self.models += other.models
        self.seconds = max(self.seconds, other.seconds)
        self.lost += other.lost
        self.again += other.again
        for outcome, count in other.outcomes.items():
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + count

    def line(self) -> str:
        """For a person."""
        outcomes = ", ".join(f"{count} {name}" for name, count in sorted(self.outcomes.items()))
        line = f"{self.name}: {self.faults} faults in {self.models} models ({outcomes}), {self.seconds:.0f} s"
        if not self.lost:
            return f"{line}; fetched twice: {self.again:.2f} parts"
        most, mean = max(self.lost), sum(self.lost) / len(self.lost)
        within = sum(each <= 1 for each in self.lost) / len(self.lost)
        return (
            f"{line}; fetched twice: {mean:.2f} parts per fault ({within:.0%} of them at most one, the worst {most:.2f}), "
            f"and {self.again:.2f} parts that S3 had"
        )


def new_file(stage: Stage, dice: random.Random, name: str, parts: float) -> Shared:
    """A repository of one file of about so many parts."""
    return stage.hub.share(name, tensor_file(max(4096, int(parts * PART_BYTES)), dice))


async def cuts(stage: Stage, dice: random.Random, count: int) -> Count:
    """Cut connections: at every border of a part, and at random bytes, each place once. Every model has to arrive."""
    result, started = Count("cuts"), time.monotonic()
    planned: dict[str, list[int]] = {}
    stage.hub.behave = lambda asked: _cut(asked, planned.get(asked.repository, []))
    while result.faults < count:
        name = f"cut-{result.models}"
        file = new_file(stage, dice, name, dice.uniform(1.1, MOST_PARTS))
        size = len(file.content)
        places = {*range(0, size, PART_BYTES), *(dice.randrange(size) for _ in range(RANDOM_CUTS))}
        planned[name] = wanted = sorted(dice.sample(sorted(places), min(len(places), count - result.faults)))
        total = len(wanted)
        model = await stage.ask(name)
        row = await stage.ended(model)
        await stage.inspect(model, file)
        result.faults += total - len(wanted)
        result.ended(row["error_code"] or row["status"], file)
        if row["status"] != "available":
            stage.wrong.append(f"{model} after {total} cuts: {dict(row)}")
        del stage.hub.files[name]
    result.seconds = time.monotonic() - started
    return result


def _cut(asked: Asked, places: list[int]) -> Answer | None:
    """Up to the next place that is still to be cut, which is done with then."""
    for place in places:
        if asked.start <= place < asked.end:
            places.remove(place)
            answer = Answer.of(asked)
            answer.cut_after = place - asked.start
            return answer
    return None


async def kills(stage: Stage, dice: random.Random, count: int) -> Count:
    """Kill the function at random moments; what is left over is taken up by the next instance, and every model arrives."""
    result, started = Count("kills"), time.monotonic()
    while result.faults < count:
        name, lost = f"kill-{stage.function.port}-{result.models}", list[float]()
        file = new_file(stage, dice, name, dice.uniform(0.3, MOST_PARTS))
        model = await stage.ask(name)
        while (await stage.status(model))["status"] == "downloading" and result.faults < count:
            await asyncio.sleep(dice.uniform(0.0, HORIZON_S))
            stage.function.kill()
            result.faults += 1
            held = await stage.held(model, file)
            lost.append(max(0.0, (file.sent_bytes - held) / PART_BYTES - sum(lost)))
            await stage.forget_leases()
            stage.tick()
            stage.function.start()
        row = await stage.ended(model)
        await stage.inspect(model, file)
        result.ended(row["error_code"] or row["status"], file, lost)
        if row["status"] != "available":
            stage.wrong.append(f"{model} after {len(lost)} kills: {dict(row)}")
        del stage.hub.files[name]
    result.seconds = time.monotonic() - started
    return result


async def flips(stage: Stage, dice: random.Random, count: int) -> Count:
    """Flip one bit of a file on its way: it has to be refused by its digest, and the same file has to arrive unflipped."""
    result, started = Count("flipped bits"), time.monotonic()
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
        result.ended(row["error_code"] or row["status"], file)
        if row["status"] != "failed" or file.promised not in row["error"]:
            stage.wrong.append(f"{model} with bit {flipped[name]} flipped: {dict(row)}")
        del flipped[name]
        if result.faults % 5 == 0:
            again = await stage.ask(name)
            if (await stage.ended(again))["status"] != "available":
                stage.wrong.append(f"{again}, honest after a flip: {dict(await stage.status(again))}")
            await stage.inspect(again, file)
        del stage.hub.files[name]
    result.seconds = time.monotonic() - started
    return result


def _flip(asked: Asked, bit: int) -> Answer | None:
    if not 8 * asked.start <= bit < 8 * asked.end:
        return None
    body = bytearray(asked.honest)
    body[bit // 8 - asked.start] ^= 1 << bit % 8
    return Answer.of(asked, bytes(body))
