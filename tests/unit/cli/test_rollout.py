"""`rollout`, `promote`, `rollback`, `pause`, `resume`: a server goes over to another model, and people decide."""

from typing import Any

import pytest

from tests.unit.cli.fake import SERVER, Fake, Person, problem

FIGURES = {"requests": 40, "errors": 2, "recent": 40, "first_tokens": 40, "ttft_p95_ms": 210}
ROLLOUT: dict[str, Any] = {
    "uuid": "r-1",
    "status": "stepping",
    "strategy": "canary",
    "model_name": "Better",
    "previous_model_name": "Tiny",
    "percent": 25,
    "step": 1,
    "steps": [5, 25, 100],
    "why": "the step is held for 30 s more",
    "measures": {"candidate": FIGURES, "stable": {**FIGURES, "errors": 0, "ttft_p95_ms": None}},
    "created_at": "2026-01-31T12:00:00Z",
    "finished_at": None,
}
UNDER_WAY = {**SERVER, "cold_starts": [], "rollout": ROLLOUT, "rollouts": []}


def test_a_rollout_begins_with_what_was_said(person: Person, fake: Fake) -> None:
    """Only that: the rest is the function's choice."""
    fake.on("PATCH /serve/tiny", (202, SERVER))
    fake.on("GET /status/tiny", (200, UNDER_WAY))
    shown = person.types("rollout", "tiny", "--model", "Better", "--step", "10", "--step", "100", "--expect", "Paris")
    assert fake.bodies("PATCH /serve/tiny") == [{"model": "Better", "rollout": {"steps": [10, 100], "expect": "Paris"}}]
    assert shown.stdout.splitlines() == [
        "Rollout:   Tiny -> Better, canary",
        "At:        stepping, 25 % of the traffic (steps: 5, 25, 100)",
        "Because:   the step is held for 30 s more",
        "Candidate: 40 requests, 2 errors, p95 time to first token 210 ms",
        "Serving:   40 requests, 0 errors",
    ]


def test_without_a_model_it_is_only_shown(person: Person, fake: Fake) -> None:
    """The one that is under way, else the last one."""
    ended = {**ROLLOUT, "status": "rolled_back", "finished_at": "2026-01-31T12:05:00Z"}
    fake.on("GET /status/tiny", (200, {**UNDER_WAY, "rollout": None, "rollouts": [ended]}))
    assert person.gets("rollout", "tiny") == {"rollout": None, "rollouts": [ended]}
    assert "rolled_back, 25 %" in person.types("rollout", "tiny").stdout
    assert [call for call, _, _ in fake.seen if call.startswith("PATCH")] == []


def test_options_without_a_model_are_a_mistake(person: Person) -> None:
    """Exit code 2, before anybody is asked."""
    result = person.types("rollout", "tiny", "--hold", "5")
    assert (result.exit_code, "--model is missing" in result.stderr) == (2, True)


@pytest.mark.parametrize("word", ["promote", "rollback", "pause", "resume"])
def test_decisions(person: Person, fake: Fake, word: str) -> None:
    """Each is one call; what it comes to is said."""
    fake.on(f"POST /serve/tiny/{word}", (202, {**ROLLOUT, "status": "decided"}))
    assert person.types(word, "tiny").stderr == "tiny: the rollout to Better is decided\n"
    assert person.gets(word, "tiny")["status"] == "decided"


def test_a_decision_that_comes_too_late(person: Person, fake: Fake) -> None:
    """The problem's title and detail, and exit code 6."""
    fake.on("POST /serve/tiny/promote", problem(409, "No rollout is under way", "the last one is promoted"))
    result = person.types("promote", "tiny")
    assert (result.exit_code, "the last one is promoted" in result.stderr) == (6, True)


def test_the_status_of_a_server_has_its_rollouts(person: Person, fake: Fake) -> None:
    """The one that is under way in full, those that have ended in a table."""
    ended = {**ROLLOUT, "status": "rolled_back", "why": "2 of 40 requests failed"}
    fake.on("GET /status/tiny", (200, {**UNDER_WAY, "rollouts": [ended]}))
    shown = person.types("status", "tiny").stdout
    assert ("At:        stepping, 25 %" in shown, "2 of 40 requests failed" in shown) == (True, True)
