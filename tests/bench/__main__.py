"""`task bench`: every figure of docs/benchmarks.md, both sides of each ratio in one run.

    python -m tests.bench [functions] [engine] [live] [events] [contract]

Prints the table; with all parts, also writes it to docs/benchmarks.md.
"""

import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

from tests.bench import cold_start, contract, engine_start, events, live
from tests.bench.report import Row, markdown

PARTS: Mapping[str, Callable[[], list[Row]]] = {
    "functions": cold_start.rows,
    "engine": engine_start.rows,
    "live": live.rows,
    "events": events.rows,
    "contract": contract.rows,
}
PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
TEXT = """# Benchmarks

Made by `task bench` on {date}, on {cores} cores ({machine}), Python {python}. Both sides of every ratio ran in the same
run, in turn. Shared machines are noisy: trust the ratios, not the absolute times.

{table}
"""


def main(names: Sequence[str]) -> int:
    """Run the named parts, all when none is named. 0 when every aim was reached."""
    chosen = list(names) or list(PARTS)
    rows = []
    for name in chosen:
        rows += PARTS[name]()
        sys.stdout.write(f"\n{markdown(rows)}\n")
        sys.stdout.flush()
    table = markdown(rows)
    if chosen == list(PARTS):
        PAGE.write_text(_page(table), encoding="utf-8")
    return 0 if all(row.reached for row in rows) else 1


def _page(table: str) -> str:
    return TEXT.format(
        date=datetime.now(UTC).date(),
        cores=psutil.cpu_count(),
        machine=platform.machine(),
        python=platform.python_version(),
        table=table,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
