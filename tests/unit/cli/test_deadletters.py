"""`deadletters`: what people read of them, and which are sent again."""

import json
from typing import Any

import pytest

from tests.unit.cli.fake import Fake, Person, problem

LETTER: dict[str, Any] = {
    "id": 17,
    "source": "/torpor/download",
    "event_id": "e-1",
    "type": "dev.torpor.file.requested.v1",
    "subject": "m-1",
    "extensions": {"actor": "ann"},
    "content_type": "application/json",
    "error_dest": "http://download/events",
    "error_code": 503,
    "error_data": '{"title": "A dependency does not answer", "detail": "the hub is down"}',
    "received_at": "2026-01-31T12:00:00.000001Z",
    "redriven_at": None,
    "redriven_by": None,
    "redrives": 0,
    "data": None,
    "data_base64": None,
}


@pytest.fixture(autouse=True)
def letters(fake: Fake) -> None:
    """One letter, which can be redriven."""
    fake.on("GET /deadletters", (200, {"dead_letters": [LETTER], "next_cursor": None}))
    fake.on("GET /deadletters/17", (200, LETTER | {"data": '{"path": "a"}'}))
    fake.on("POST /deadletters/17/redrive", (202, LETTER | {"redrives": 1}))
    fake.on("POST /deadletters/redrive", (202, {"redriven": 1, "more": False}))


def test_the_list_says_what_failed_where_and_why(person: Person) -> None:
    """Type, subject, destination, code, and the reason out of the problem document; JSON as the API has it."""
    header, line = person.types("deadletters").stdout.splitlines()
    assert header.split() == ["ID", "AGE", "TYPE", "SUBJECT", "DESTINATION", "CODE", "REASON"]
    assert (line.split()[0], line.split()[-8:]) == (
        "17",
        ["dev.torpor.file.requested.v1", "m-1", "http://download/events", "503", "the", "hub", "is", "down"],
    )
    assert person.gets("deadletters") == {"dead_letters": [LETTER]}


@pytest.mark.parametrize(
    ("reason", "shown"), [("x" * 61, "x" * 59 + "…"), ("two\nlines", "two lines"), (None, "-"), ('["a"]', '["a"]')]
)
def test_a_reason_is_one_line(person: Person, fake: Fake, reason: str | None, shown: str) -> None:
    """Whatever a subscriber answered; brokers cut it off anywhere."""
    page = {"dead_letters": [LETTER | {"error_data": reason}], "next_cursor": None}
    fake.on("GET /deadletters", (200, page))
    assert person.types("deadletters").stdout.splitlines()[1].endswith(f"503    {shown}")


def test_a_letter_is_shown_whole(person: Person) -> None:
    """The event's attributes and data, and that it was never redriven."""
    text = person.types("deadletters", "show", "17").stdout
    for part in ("e-1 from /torpor/download", "actor: ann", "the hub is down", "never", '{"path": "a"}'):
        assert part in text


def test_data_that_is_no_text_is_shown_as_base64(person: Person, fake: Fake) -> None:
    """Nothing of it is replaced or lost."""
    again = {"redrives": 2, "redriven_by": "olga", "data_base64": "/w=="}
    fake.on("GET /deadletters/17", (200, LETTER | again))
    text = person.types("deadletters", "show", "17").stdout
    assert ("/w== (base64)" in text, "2 times, last by olga; came back" in text) == (True, True)


def test_letters_are_redriven_by_number(person: Person, fake: Fake) -> None:
    """Each by its own route, so that one that is not there is named."""
    fake.on("POST /deadletters/18/redrive", (202, LETTER | {"id": 18}))
    assert person.gets("deadletters", "redrive", "17", "18") == {"redriven": 2}


def test_a_letter_that_is_not_there_is_named(person: Person, fake: Fake) -> None:
    """Exit code 4, in the form that was asked for."""
    fake.on("POST /deadletters/9/redrive", problem(404, "Dead letter not found", "there is no dead letter 9"))
    result = person.types("deadletters", "redrive", "9", "-o", "json")
    assert (result.exit_code, json.loads(result.stderr)["error"]["detail"]) == (4, "there is no dead letter 9")


def test_a_description_is_redriven_call_by_call(person: Person, fake: Fake) -> None:
    """Until no more is left, and nothing newer than what was there at the start."""
    fake.on("POST /deadletters/redrive", (202, {"redriven": 1000, "more": True}), (202, {"redriven": 1, "more": False}))
    assert person.gets("deadletters", "redrive", "--type", "t", "--code", "503") == {"redriven": 1001}
    body = {"type": "t", "code": 503, "until": "2026-01-31T12:00:00.000002+00:00"}
    assert fake.bodies("POST /deadletters/redrive") == [body, body]


def test_all_means_all_that_wait(person: Person, fake: Fake) -> None:
    """Without a letter there is nothing to send."""
    assert person.gets("deadletters", "redrive", "--all") == {"redriven": 1}
    fake.on("GET /deadletters", (200, {"dead_letters": [], "next_cursor": None}))
    assert person.gets("deadletters", "redrive", "--all") == {"redriven": 0}


@pytest.mark.parametrize("arguments", [[], ["17", "--all"], ["--type", "t", "--all"], ["17", "--code", "503"]])
def test_a_redrive_says_which(person: Person, fake: Fake, arguments: list[str]) -> None:
    """A slip must not send everything again: exit code 2, nothing is called."""
    assert (person.types("deadletters", "redrive", *arguments).exit_code, fake.seen) == (2, [])


def test_an_option_at_the_wrong_place_is_not_ignored(person: Person, fake: Fake) -> None:
    """Who limits the list and then redrives everything meant something else."""
    assert (person.types("deadletters", "--code", "503", "redrive", "--all").exit_code, fake.seen) == (2, [])


@pytest.mark.parametrize("command", ["show", "redrive"])
def test_the_commands_below_have_help_with_examples(person: Person, command: str) -> None:
    """Somebody who has never seen the command can copy a line that works."""
    output = person.types("deadletters", command, "--help").output
    assert ("kn model deadletters" in output, "--output" in output) == (True, True)
