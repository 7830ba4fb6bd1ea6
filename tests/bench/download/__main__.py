"""`task bench:download`: the rows about downloads, both sides of every ratio in one run, in turn.

    python -m tests.bench.download [capped] [sharded] [fan] [again] [memory] [--rounds 7] [--mb 1000] [--sparse-mb 10000]

Every payload is read back out of the bucket and its SHA-256 compared, on both sides, outside of the time that is taken;
but of the largest one, which no bucket keeps.
"""

import argparse
import asyncio
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench.download import baseline, rows, sides
from tests.bench.report import Row, markdown


def main(words: Sequence[str]) -> int:
    """Run the named parts, all when none is named. 0 when every aim was reached."""
    parser = argparse.ArgumentParser(prog="tests.bench.download")
    parser.add_argument("parts", nargs="*", choices=[*rows.PARTS, []], help="which rows; all when none is named")
    parser.add_argument("--rounds", type=int, default=7, help="of both sides; the figures are medians")
    parser.add_argument("--mb", type=int, default=1000, help="megabytes of the model")
    parser.add_argument("--sparse-mb", type=int, default=10_000, help="megabytes of the model that only has a size")
    asked = parser.parse_args(words)
    if missing := baseline.missing():
        sys.stderr.write(missing)
        return 2
    sys.stdout.write(
        f"baseline: {baseline.versions()}; Python {platform.python_version()}; {asked.rounds} rounds of {asked.mb} MB\n"
    )
    found: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="torpor-bench-download-") as folder:
        for part in asked.parts or rows.PARTS:
            bench = sides.Bench(Path(folder) / part, asked.rounds, asked.mb, asked.sparse_mb)
            found += asyncio.run(rows.PARTS[part](bench))
            sys.stdout.write(f"\n{markdown(found)}\n\n")
            sys.stdout.flush()
    return 0 if all(row.reached for row in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
