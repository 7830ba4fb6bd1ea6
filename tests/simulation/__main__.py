"""Runs seeds: `python -m tests.simulation --seeds 10000 --jobs 2`, or one with everything that happens: `--seed 7`."""

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.simulation.plants import PLANTS
from tests.simulation.seeds import found, outcomes
from tests.simulation.trace import Trace
from tests.simulation.world import Parts, World

# Failing seeds that are shown; the rest is counted.
SHOWN = 10

# What is counted over all seeds, by the word of the trace.
COUNTED = {
    "accepted": "commands accepted",
    "delivery": "deliveries",
    "kill": "kills of functions and brokers",
    "stop": "immediate stops of the database",
    "hang": "times that it hung",
    "pause": "processes paused",
    "cut": "hosts cut off",
    "clock": "clocks set",
}


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


def _one(seed: int, plant: str | None) -> int:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a word
    violations = World(seed, parts=PLANTS[plant] if plant else Parts(), trace=Trace(sys.stdout)).run()
    _say(*(violations or ["nothing was violated"]))
    return bool(violations)


def _hunt(seeds: Sequence[int], plant: str) -> int:
    outcome = found(seeds, plant)
    if outcome is None:
        _say(f"{plant}: not found in {len(seeds)} seeds")
        return 1
    _say(f"{plant}: found by seed {outcome.seed}", *outcome.violations[:SHOWN])
    _say(f"replay: {_replay(outcome.seed)} --plant {plant}")
    return 0


def _all(seeds: Sequence[int], jobs: int) -> int:
    began, failed, counts, virtual_s, cpu_s = time.monotonic(), 0, Counter[str](), 0.0, 0.0
    for outcome in outcomes(seeds, jobs):
        counts.update(outcome.counts)
        virtual_s, cpu_s = virtual_s + outcome.virtual_s, cpu_s + outcome.cpu_s
        if outcome.violations:
            failed += 1
            if failed <= SHOWN:
                _say(f"seed {outcome.seed}:", *outcome.violations[:SHOWN], f"replay: {_replay(outcome.seed)}")
    _say(*(f"{counts[word]:>10,} {meaning}" for word, meaning in COUNTED.items()))
    _say(
        f"{len(seeds):,} seeds, {failed} with violations; {virtual_s / 3600:,.0f} h of virtual time in "
        f"{time.monotonic() - began:.0f} s, {cpu_s:.0f} s of processor time, --jobs {jobs}"
    )
    return bool(failed)


def _replay(seed: int) -> str:
    return f"python -m tests.simulation --seed {seed}"


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
