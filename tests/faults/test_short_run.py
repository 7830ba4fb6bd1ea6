"""The command of docs/faults.md in small: as many faults of each kind as a minute holds."""

from pathlib import Path

from tests.faults.__main__ import say
from tests.faults.run import Order, run


async def test_faults_publish_nothing_wrong_and_leave_nothing_behind(tmp_path: Path) -> None:
    """80 cuts, 36 kills and 30 flipped bits: the seed of the last long run, so that it can be compared."""
    report = await run(Order(seed=8, cuts=80, kills=30, flips=30, lanes=2, shared=6, folder=tmp_path), say)
    assert report.findings == []
    *counts, shared = [count.faults for count in report.counts]
    assert (counts, shared >= 6) == ([30, 80, 30], True)
