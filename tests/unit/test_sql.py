"""Rules for every `.sql` file that a program runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STATEMENTS = [
    pytest.param(statement, id=f"{path.parent.name}/{statement.split(maxsplit=1)[0]}")
    for folder in ("functions", "kn_model")
    for path in sorted((ROOT / folder).rglob("*.sql"))
    for statement in path.read_text().split("-- name: ")[1:]
    if "SKIP LOCKED" in statement
]


def test_there_are_claims() -> None:
    """The rule below looks at something."""
    assert STATEMENTS


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_limited_claim_is_evaluated_once(statement: str) -> None:
    """As a mere subquery it may run once per row and take more than its limit (tests/integration/test_claims.py)."""
    assert re.search(r"AS MATERIALIZED \([^;]*LIMIT[^;]*SKIP LOCKED\s*\)", statement)
