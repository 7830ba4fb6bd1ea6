"""PgBouncer in transaction mode: no statement of the functions leaves anything in a session, or needs what another left."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "functions").rglob("*.sql"), *(ROOT / "functions").rglob("*.py")])
# What each would leave behind, in SQL or by a method of asyncpg.
SESSION = re.compile(
    r"""\bLISTEN\b | \bUNLISTEN\b | \bPREPARE\b | \bDEALLOCATE\b | \bDECLARE\s+\w+\s+CURSOR | \bTEMP(ORARY)?\s+TABLE
    | pg_(try_)?advisory_lock(_shared)?\( | (\A|[;"'])\s*SET\s+(?!LOCAL\b)(SESSION\s+)?[a-z_.]+\s*(=|TO\b)
    | set_config\([^)]*,\s*false\) | \.add_listener\( | \.prepare\(""",
    re.VERBOSE,
)


def statements(path: Path) -> str:
    """The text without comments, whose prose may name what is forbidden."""
    return re.sub(r"(--|#).*", "", path.read_text(encoding="utf-8"))


def test_nothing_is_left_in_a_session() -> None:
    """The next transaction of the same client may be on another connection, and this connection another client's."""
    found = {path: [match.group(0) for match in SESSION.finditer(statements(path))] for path in FILES}
    assert {} == {path: texts for path, texts in found.items() if texts}


@pytest.mark.parametrize(
    "text",
    [
        "LISTEN events",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_lock(1)",
        "SET search_path = 'x'",
        "SELECT 1; SET work_mem TO 65536",
        """await connection.execute("SET statement_timeout = '5s'")""",
        "SELECT set_config('x', 'y', false)",
        "CREATE TEMP TABLE t (a int)",
        "await connection.add_listener('x', f)",
    ],
)
def test_the_rule_sees_them(text: str) -> None:
    """Or it would hold for everything."""
    assert SESSION.search(text)


@pytest.mark.parametrize(
    "text",
    [
        "SET LOCAL lock_timeout = '5s'",
        """await connection.execute("SET LOCAL lock_timeout = '5s'")""",
        "UPDATE outbox SET due_at = now()",
        "SELECT pg_advisory_xact_lock(1)",
        "set_config('synchronous_commit', 'off', true)",
    ],
)
def test_the_rule_lets_a_transaction_be(text: str) -> None:
    """What ends with its transaction goes through a pooler unharmed."""
    assert not SESSION.search(text)
