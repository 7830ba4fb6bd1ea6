"""Runs seeds: `python -m tests.simulation --seeds 10000 --jobs 2`, or one with everything that happens: `--seed 7`."""

import argparse
import gc
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence

from tests.simulation.plants import PLANTS
from tests.simulation.trace import Trace
from tests.simulation.world import Parts, World

# Seeds that a worker gets at once.
CHUNK = 25
# Failing seeds that are shown; the rest is counted.
SHOWN = 10

Outcome = tuple[int, list[str], int, float]
"""A seed, what it violated, steps of the loop, virtual seconds."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 when something was violated, or when a planted bug was not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed, with a trace of what happens")
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to run (1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share them (1)")
    parser.add_argument(
        "--plant", choices=sorted(PLANTS), help="plant this bug, and stop at the first seed that finds it"
    )
    given = parser.parse_args(arguments)
    if given.seed is not None:
        return _one(given.seed, given.plant)
    if given.plant:
        return _hunt(range(given.first, given.first + given.seeds), given.plant)
    return _all(range(given.first, given.first + given.seeds), given.jobs)


def run(seed: int, plant: str | None = None) -> Outcome:
    """One seed."""
    world = World(seed, parts=PLANTS[plant] if plant else Parts())
    violations = world.run()
    return seed, violations, world.loop.steps, world.loop.time()


def found(seeds: Sequence[int], plant: str) -> Outcome | None:
    """The first of the seeds that shows a planted bug."""
    return next((outcome for outcome in (run(seed, plant) for seed in seeds) if outcome[1]), None)


def _one(seed: int, plant: str | None) -> int:
    violations = World(seed, parts=PLANTS[plant] if plant else Parts(), trace=Trace(sys.stdout)).run()
    _say(*(violations or ["nothing was violated"]))
    return bool(violations)


def _hunt(seeds: Sequence[int], plant: str) -> int:
    outcome = found(seeds, plant)
    if outcome is None:
        _say(f"{plant}: not found in {len(seeds)} seeds")
        return 1
    _say(f"{plant}: found by seed {outcome[0]}", *outcome[1][:SHOWN], f"replay: {_replay(outcome[0])} --plant {plant}")
    return 0


def _all(seeds: Sequence[int], jobs: int) -> int:
    began, failed, steps, virtual_s = time.monotonic(), 0, 0, 0.0
    for seed, violations, taken, lasted in _outcomes(seeds, jobs):
        steps, virtual_s = steps + taken, virtual_s + lasted
        if violations:
            failed += 1
            if failed <= SHOWN:
                _say(f"seed {seed}:", *(f"  {each}" for each in violations[:SHOWN]), f"  replay: {_replay(seed)}")
    wall_s = time.monotonic() - began
    _say(
        f"{len(seeds)} seeds, {failed} with violations; {virtual_s / 3600:.0f} h of virtual time, "
        f"{steps / 1e6:.1f} million steps, {wall_s:.0f} s with {jobs} process{'es' if jobs > 1 else ''}"
    )
    return bool(failed)


def _outcomes(seeds: Sequence[int], jobs: int) -> Iterator[Outcome]:
    gc.freeze()  # what is imported stays: nothing for the collector to look at once a run
    if jobs == 1:
        yield from map(run, seeds)
        return
    # A fresh interpreter each: strings hash differently in each, and nothing may depend on that.
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(run, seeds, CHUNK)


def _replay(seed: int) -> str:
    return f"python -m tests.simulation --seed {seed}"


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
