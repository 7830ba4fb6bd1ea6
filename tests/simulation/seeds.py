"""Runs of many seeds, in one process or in several. Used by the command and by the tests."""

import gc
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.simulation.plants import PLANTS
from tests.simulation.world import Parts, World

# Seeds that a worker gets at once.
CHUNK = 25


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one seed."""

    seed: int
    violations: list[str]
    counts: Counter[str]
    virtual_s: float
    cpu_s: float


def run(seed: int, plant: str | None = None) -> Outcome:
    """One seed."""
    began = time.process_time()
    world = World(seed, parts=PLANTS[plant] if plant else Parts())
    try:
        violations = world.run()
    except Exception as error:  # noqa: BLE001 - a seed that breaks the simulation has to be named like any other
        violations = [f"the simulation itself broke: {error!r}"]
    return Outcome(seed, violations, world.trace.counts, world.loop.time(), time.process_time() - began)


def found(seeds: Sequence[int], plant: str) -> Outcome | None:
    """The first of the seeds that shows a planted bug."""
    return next((outcome for outcome in (run(seed, plant) for seed in seeds) if outcome.violations), None)


def outcomes(seeds: Sequence[int], jobs: int) -> Iterator[Outcome]:
    """What came of each, in any order."""
    gc.freeze()  # what is imported stays: nothing for the collector to look at once a run
    if jobs == 1:
        yield from map(run, seeds)
        return
    # A fresh interpreter each: strings hash differently in each, and nothing may depend on that.
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(run, seeds, CHUNK)
