"""How commands end when they cannot succeed: exit codes, messages, JSON."""

import json

import pytest

from tests.unit.cli.fake import Fake, Person, problem


@pytest.mark.parametrize(("status", "code"), [(401, 3), (403, 3), (404, 4), (409, 6), (422, 6), (500, 1)], ids=str)
def test_answers_have_their_exit_codes(person: Person, fake: Fake, status: int, code: int) -> None:
    """Scripts can tell what went wrong."""
    fake.on("GET /models", problem(status, "Title", "detail"))
    result = person.types("ls")
    assert (result.exit_code, result.stderr.splitlines()[:2]) == (code, ["Error: Title", "  detail"])


def test_failures_are_json_where_json_was_asked_for(person: Person, fake: Fake) -> None:
    """On stderr, with stable fields; stdout stays empty."""
    fake.on("GET /models", problem(404, "Title", "detail"))
    result = person.types("ls", "-o", "json")
    assert (result.stdout, json.loads(result.stderr)) == (
        "",
        {"error": {"message": "Title", "detail": "detail", "next": "", "code": 4}},
    )


def test_nobody_answering_says_how_to_start_the_runtime(person: Person) -> None:
    """Exit code 5 and the command to run."""
    person.environ["TORPOR_URL"] = "http://127.0.0.1:1"
    result = person.types("ls")
    assert (result.exit_code, "kn model up" in result.stderr) == (5, True)


def test_nobody_logged_in_says_how_to_log_in(person: Person) -> None:
    """Exit code 3 and the command to run, before anything is sent."""
    del person.environ["TORPOR_URL"], person.environ["TORPOR_TOKEN"]
    result = person.types("ls")
    assert (result.exit_code, "kn model login" in result.stderr) == (3, True)
