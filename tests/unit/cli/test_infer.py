"""`infer`: a request that is kept, shown, waited for and cancelled."""

import json

import pytest

from tests.unit.cli.fake import Fake, Person, problem

QUEUED = {
    "id": "i-1",
    "server": "tiny",
    "model": "Tiny",
    "path": "/v1/chat/completions",
    "status": "queued",
    "attempts": 0,
    "error": None,
    "http_status": None,
    "created_at": "2026-01-31T12:00:00Z",
    "started_at": None,
    "finished_at": None,
    "deadline_at": "2026-02-01T12:00:00Z",
}
ANSWER = {"choices": [{"message": {"role": "assistant", "content": "Paris"}}]}
DONE = QUEUED | {"status": "completed", "result_url": "/inference/i-1/result", "result": ANSWER}


@pytest.fixture(autouse=True)
def inference(fake: Fake) -> None:
    """A request is accepted."""
    fake.on("POST /inference", (202, QUEUED))


def test_the_request_is_kept(person: Person, fake: Fake) -> None:
    """The id, and how to come back to it."""
    result = person.types("infer", "tiny", "The capital of France?", "--deadline", "60", "--max-tokens", "5")
    assert (result.exit_code, result.stdout) == (0, "i-1 is queued: kn model infer --show i-1\n")
    assert fake.bodies("POST /inference") == [
        {
            "model": "tiny",
            "body": {"messages": [{"role": "user", "content": "The capital of France?"}], "max_tokens": 5},
            "deadline_s": 60,
        }
    ]


def test_waiting_prints_the_answer(person: Person, fake: Fake) -> None:
    """However long it takes."""
    fake.on("GET /inference/i-1", (200, QUEUED), (200, QUEUED | {"status": "running"}), (200, DONE))
    assert person.types("infer", "tiny", "?", "--wait").stdout == "Paris\n"


def test_a_prompt_comes_from_a_pipe(person: Person, fake: Fake) -> None:
    """`kn model infer tiny < prompt.txt` works."""
    person.types("infer", "tiny", stdin="from a pipe\n")
    assert fake.bodies("POST /inference")[0]["body"]["messages"][0]["content"] == "from a pipe"


@pytest.mark.parametrize("status", ["failed", "expired"])
def test_what_failed_fails_as_json_too(person: Person, fake: Fake, status: str) -> None:
    """The record on stdout, the failure on stderr, and exit code 1: a script sees it without reading."""
    fake.on("GET /inference/i-1", (200, QUEUED | {"status": status, "error": "too long"}))
    result = person.types("infer", "--show", "i-1", "-o", "json")
    assert (1, status) == (result.exit_code, json.loads(result.stdout)["status"])
    assert "too long" == json.loads(result.stderr)["error"]["detail"]


def test_what_failed_says_why(person: Person, fake: Fake) -> None:
    """The model's own words, and exit code 1."""
    fake.on("GET /inference/i-1", (200, QUEUED | {"status": "failed", "error": "too long"}))
    result = person.types("infer", "--show", "i-1")
    assert (result.exit_code, "too long" in result.stderr) == (1, True)


def test_a_request_is_cancelled(person: Person, fake: Fake) -> None:
    """And says so."""
    fake.on("DELETE /inference/i-1", (200, QUEUED | {"status": "cancelled"}))
    assert person.types("infer", "--cancel", "i-1").stdout.startswith("i-1 is cancelled")


def test_a_large_answer_is_pointed_at(person: Person, fake: Fake) -> None:
    """It is read at its own address."""
    fake.on("GET /inference/i-1", (200, DONE | {"result": None}))
    assert person.types("infer", "--show", "i-1").stdout == "completed: GET /inference/i-1/result\n"


def test_json_is_the_record(person: Person, fake: Fake) -> None:
    """With stable fields."""
    fake.on("GET /inference/i-1", (200, DONE))
    assert person.gets("infer", "--show", "i-1") == DONE


def test_a_name_is_needed(person: Person) -> None:
    """Wrong usage."""
    assert person.types("infer").exit_code == 2
    assert person.types("infer", "tiny").exit_code == 2


def test_somebody_elses_request_is_not_found(person: Person, fake: Fake) -> None:
    """Exit code 4."""
    fake.on("GET /inference/i-2", problem(404, "Inference request not found", "there is no inference request 'i-2'"))
    assert person.types("infer", "--show", "i-2").exit_code == 4
