"""Two minutes of chaos with a fixed seed: the short form of `task chaos`, in every run of the tests."""

import asyncio
import tempfile
from pathlib import Path

import pytest

from tests.chaos.run import Order, run, say


# A run that hangs ends itself before, with a report.
@pytest.mark.timeout(1200)
def test_nothing_is_lost_doubled_or_stuck() -> None:
    """Whatever is killed, every accepted command has its effect once, and all comes to rest."""
    # Not below pytest's own folder: PostgreSQL and S3 want short paths, and a failed run's folder is kept.
    folder = Path(tempfile.mkdtemp(prefix="torpor-chaos-"))
    report = asyncio.run(run(Order(seed=20261121, kills=60, events=5000, minutes=2, folder=folder)))
    say(report.text())
    assert report.findings == []
