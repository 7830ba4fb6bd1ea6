"""`task chaos`: kill what runs, as long as it runs, and find nothing lost, nothing doubled, nothing stuck.

Called as `python -m tests.chaos [--seed N] [--kills K] [--events E] [--minutes M] [--only functions|broker|postgres]`.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.chaos.plan import ONLY
from tests.chaos.run import Order, run, say

KILLS: Final = 1000
EVENTS: Final = 100_000
# On two cores; a run takes as long as it takes, this sets the pace.
MINUTES: Final = 30.0


def main() -> int:
    """0 when nothing was found."""
    options = _parser().parse_args()
    folder = Path(tempfile.mkdtemp(prefix="torpor-chaos-", dir=options.dir))
    order = Order(options.seed, options.kills, options.events, options.minutes, options.only, folder)
    say(f"{order.command}\nin {folder}")
    report = asyncio.run(run(order))
    say(report.text())
    return 0 if report.good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    drawn = random.SystemRandom().randrange(1_000_000)
    parser.add_argument("--seed", type=int, default=drawn, help="replays a run's decisions; drawn when left out")
    parser.add_argument("--kills", type=int, default=KILLS, help="processes to kill (%(default)s)")
    parser.add_argument("--events", type=int, default=EVENTS, help="usage events to send (%(default)s)")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="to spread them over (%(default)s)")
    parser.add_argument("--only", choices=sorted(ONLY), help="kill nothing else")
    parser.add_argument("--dir", type=Path, help="where the run's folder is made")
    return parser


if __name__ == "__main__":
    sys.exit(main())
