"""Cuts, kills and flipped bits, in numbers: `python -m tests.faults [--cuts N] [--kills N] [--flips N] [--shared N] [--seed S]`.

What is decided by dice is decided by the seed; when a process is scheduled, the machine decides.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.faults.run import Order, run

CUTS: Final = 1000
KILLS: Final = 1000
FLIPS: Final = 500
SHARED: Final = 100


def main() -> int:
    """0 when nothing was found."""
    options = _parser().parse_args()
    folder = Path(tempfile.mkdtemp(prefix="torpor-faults-"))
    order = Order(options.seed, options.cuts, options.kills, options.flips, options.lanes, options.shared, folder)
    report = asyncio.run(run(order, say))
    if report.good:
        shutil.rmtree(folder)
    return 0 if report.good else 1


def say(line: str) -> None:
    """At once, also into a pipe."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    drawn = random.SystemRandom().randrange(1_000_000)
    parser.add_argument("--seed", type=int, default=drawn, help="replays a run's decisions; drawn when left out")
    parser.add_argument("--cuts", type=int, default=CUTS, help="connections to cut (%(default)s)")
    parser.add_argument("--kills", type=int, default=KILLS, help="function processes to kill (%(default)s)")
    parser.add_argument("--flips", type=int, default=FLIPS, help="bits to flip (%(default)s)")
    parser.add_argument("--shared", type=int, default=SHARED, help="kills of instances at one file (%(default)s)")
    parser.add_argument("--lanes", type=int, default=2, help="functions that are killed side by side (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
