"""`evaluate`: what is sent, what is waited for, and how it ends."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.fake import Fake, Person

PROMPTS = [{"prompt": "1 + 1 =", "expect": {"exact": "2"}}]
RESULT = {"passed": True, "reason": "", "answer": "2", "latency_ms": 12}


def candidate(name: str, **changes: Any) -> dict[str, Any]:
    """One that passed its only prompt, unless changes say otherwise."""
    scored = {"status": "scored", "why": "", "score": 1.0, "latency_ms": 12, "results": [RESULT]}
    return {"candidate": name, "model_uuid": "m", "model_name": name, "server": None, **scored, **changes}


def evaluation(status: str, why: str = "", **changes: Any) -> dict[str, Any]:
    """The record."""
    dropped = candidate("big", status="dropped", why="it does not fit", score=None, latency_ms=None, results=[])
    known = {"id": "e-1", "alias": "sums", "prompts": 1, "winner": None, "winner_score": None}
    return {**known, "status": status, "why": why, "candidates": [candidate("tiny"), dropped], **changes}


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    """A file with one prompt."""
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(PROMPTS))
    return str(path)


def test_it_is_asked_for_and_followed_to_its_end(person: Person, fake: Fake, prompts: str) -> None:
    """The file's prompts are sent; scores and reasons are shown."""
    fake.on("POST /evaluations", (202, {"id": "e-1"}))
    fake.on(
        "GET /evaluations/e-1",
        (200, evaluation("asking", "tiny is asked")),
        (200, evaluation("selected", winner="tiny")),
    )
    result = person.types("evaluate", "sums", "-c", "tiny", "-c", "big", "--prompts", prompts, "--memory", "2048")
    sent = next(body for call, body, _ in fake.seen if call == "POST /evaluations")
    assert sent == {"alias": "sums", "candidates": ["tiny", "big"], "prompts": PROMPTS, "options": {"memory_mb": 2048}}
    table = [line.split() for line in result.stdout.splitlines()[-2:]]
    assert table[0][:6] == ["tiny", "scored", "1.000", "12", "ms", "1"]
    assert (result.exit_code, "tiny is asked" in result.stderr, "it does not fit" in result.stdout) == (0, True, True)


def test_what_is_no_file_is_a_key(person: Person, fake: Fake) -> None:
    """The function looks it up in S3; nobody waits."""
    fake.on("POST /evaluations", (202, {"id": "e-1"}))
    fake.on("GET /evaluations/e-1", (200, evaluation("waiting", "waits for big")))
    options = ("--prompts", "evaluations/sums.json", "--deadline", "60", "--no-wait")
    assert person.types("evaluate", "sums", "-c", "big", *options).exit_code == 0
    sent = next(body for call, body, _ in fake.seen if call == "POST /evaluations")
    assert (sent["prompts"], sent["deadline_s"]) == ("evaluations/sums.json", 60)


def test_a_file_that_is_not_there_is_said(person: Person, fake: Fake) -> None:
    """Exit code 2: a name that was mistyped is not sent as the key of something in S3."""
    result = person.types("evaluate", "sums", "-c", "tiny", "--prompts", "missing.json")
    assert (result.exit_code, "there is no file 'missing.json'" in result.stderr) == (2, True)
    assert [] == fake.seen


def test_one_that_is_shown_is_not_waited_for(person: Person, fake: Fake) -> None:
    """Unless somebody says so."""
    under_way, ended = (200, evaluation("asking", "tiny is asked")), (200, evaluation("selected", winner="tiny"))
    fake.on("GET /evaluations/e-1", under_way, ended)
    assert "asking (tiny is asked)" in person.types("evaluate", "--show", "e-1").stdout
    fake.on("GET /evaluations/e-1", under_way, ended)
    assert "selected" in person.types("evaluate", "--show", "e-1", "--wait").stdout


@pytest.mark.parametrize("status", ["failed", "superseded", "cancelled"])
def test_without_a_winner_it_fails(person: Person, fake: Fake, status: str) -> None:
    """Exit code 1, after the table that says why."""
    fake.on("GET /evaluations/e-1", (200, evaluation(status, "no candidate reached a score of 0.5")))
    result = person.types("evaluate", "--show", "e-1")
    assert (result.exit_code, "it does not fit" in result.stdout) == (1, True)
    assert "no candidate reached a score of 0.5" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("sums",), ("sums", "-c", "tiny"), ("-c", "tiny", "--prompts", "x")])
def test_what_is_missing_is_said(person: Person, arguments: tuple[str, ...]) -> None:
    """Exit code 2, before anything is sent."""
    assert person.types("evaluate", *arguments).exit_code == 2


def test_a_file_that_is_no_json_is_said(person: Person, tmp_path: Path) -> None:
    """Exit code 2, with the file's name."""
    path = tmp_path / "prompts.json"
    path.write_text("[")
    result = person.types("evaluate", "sums", "-c", "tiny", "--prompts", str(path))
    assert (result.exit_code, "prompts.json" in result.stderr) == (2, True)
