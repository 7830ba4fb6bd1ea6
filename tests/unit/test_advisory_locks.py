"""Advisory locks share one space of numbers in a database: whoever takes one must not wait for strangers."""

import re
from pathlib import Path

FUNCTIONS = Path(__file__).parents[2] / "functions"
# In SQL, and the migrations' own, which is written in Python.
FIXED = re.compile(r"pg_advisory_xact_lock\((\d+)\)|^_LOCK: Final = ([\d_]+)$", re.MULTILINE)


def test_every_lock_has_a_number_of_its_own() -> None:
    """A plan that looks for room holds up neither the news nor the queue of inference."""
    files = sorted([*FUNCTIONS.rglob("*.sql"), *FUNCTIONS.rglob("*.py")])
    found = [int(sql or python) for file in files for sql, python in FIXED.findall(file.read_text(encoding="utf-8"))]
    assert len(found) >= 4
    assert sorted(set(found)) == sorted(found)
