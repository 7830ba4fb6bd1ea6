"""The simulation as a test: nothing lost and nothing twice over a few hundred seeds, and it would notice."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.plants import PLANTS
from tests.simulation.seeds import found, run
from tests.simulation.trace import Trace
from tests.simulation.world import World

ROOT = Path(__file__).parents[2]
# Enough for every fault to meet every other; task simulation runs 10,000.
SEEDS = 200
# Within this many the rarest of the planted bugs is found twice over.
HUNT = 400


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_nothing_is_lost_and_nothing_happens_twice(first: int) -> None:
    """Whatever is killed, cut, doubled or late: every accepted command has its effect once, and no record is stuck."""
    outcomes = map(run, range(first, first + 20))
    failed = {outcome.seed: outcome.violations for outcome in outcomes if outcome.violations}
    assert {} == failed, f"replay with: python -m tests.simulation --seed {next(iter(failed), '')}"


@pytest.mark.parametrize("plant", sorted(PLANTS))
def test_a_planted_bug_is_found(plant: str) -> None:
    """A harness that finds nothing has to be able to find something."""
    assert found(range(HUNT), plant) is not None


def test_a_seed_is_one_run() -> None:
    """The same seed tells the same story, whatever strings hash to: a failing one can be replayed."""
    command = [sys.executable, "-m", "tests.simulation", "--seed", "5"]
    stories = [
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": hashes}, capture_output=True, text=True, cwd=ROOT, check=False
        ).stdout
        for hashes in ("1", "2")
    ]
    assert stories[0].splitlines() == stories[1].splitlines()
    assert "nothing was violated" in stories[0]


def test_tracing_changes_nothing() -> None:
    """What is printed is what happened without printing."""
    quiet, told = World(7), World(7, trace=Trace(io.StringIO()))
    assert ([], []) == (quiet.run(), told.run())
    assert quiet.loop.steps == told.loop.steps
