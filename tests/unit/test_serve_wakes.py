"""A Revision that is being brought up says since when."""

from datetime import UTC, datetime
from typing import Any

import pytest

from functions.serve.wakes import moment

AT = "2026-01-31T12:00:00Z"


def revision(*conditions: dict[str, Any], kind: str = "Revision") -> dict[str, Any]:
    """An object with these conditions."""
    return {"kind": kind, "metadata": {"name": "s-00001"}, "status": {"conditions": list(conditions)}}


def active(status: str, at: object = AT) -> dict[str, Any]:
    """The condition that tells."""
    return {"type": "Active", "status": status, "lastTransitionTime": at}


def test_one_that_is_being_brought_up_says_since_when() -> None:
    """The moment in which its condition Active became Unknown."""
    assert moment(revision({"type": "Ready", "status": "True"}, active("Unknown"))) == datetime(
        2026, 1, 31, 12, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "told",
    [
        revision(active("True")),
        revision(active("False")),
        revision(),
        revision(active("Unknown"), kind="Service"),
        revision(active("Unknown", "now")),
        revision(active("Unknown", "2026-01-31T12:00:00")),
        revision(active("Unknown", None)),
        {"kind": "Revision", "metadata": {}},
    ],
)
def test_others_say_nothing(told: dict[str, Any]) -> None:
    """Neither one that runs or sleeps, nor what carries no time; they are nobody's word and may be anything."""
    assert moment(told) is None
