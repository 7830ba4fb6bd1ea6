"""Headers made to cost their reader time or memory are refused, within 64 MiB."""

import json
import subprocess
import sys
from pathlib import Path

from tests.unit.weight_files import LIES

_ROOT = Path(__file__).parents[3]
# A reader that hangs is stopped; what each took is printed, and seen with pytest -s.
_GIVE_UP_S = 120


def test_every_lie_is_refused_in_bounded_memory() -> None:
    """Claims of 2^63, headers up to the limit, nesting, floods: InvalidHeader, in a process that may take 64 MiB more."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.unit.weight_files"],
        cwd=_ROOT,
        check=True,
        capture_output=True,
        timeout=_GIVE_UP_S,
    )
    outcomes = json.loads(ran.stdout)
    for name, outcome in outcomes.items():
        sys.stdout.write(f"{outcome['seconds']:6.3f} s  {name}: {outcome['outcome']}\n")
    accepted = {name: outcome for name, outcome in outcomes.items() if not outcome["outcome"].startswith("refused: ")}
    assert accepted == {}
    assert set(outcomes) == set(LIES)
