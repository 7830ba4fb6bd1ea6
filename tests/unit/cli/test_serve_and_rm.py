"""`serve` and `rm`: servers come and go, models are not removed by accident."""

import pytest

from tests.unit.cli.fake import SERVER, Fake, Person, problem


def test_serve_answers_the_record(person: Person, fake: Fake) -> None:
    """The model's name goes as it is: the function finds it."""
    assert person.gets("serve", "Tiny", "--gpu", "24576x2")["name"] == "tiny"
    assert fake.bodies("POST /serve") == [{"model": "Tiny", "gpu": {"memory_mb": 24576, "count": 2}}]


def test_what_does_not_fit_is_refused_with_the_numbers(person: Person, fake: Fake) -> None:
    """The problem's title and detail, and exit code 6."""
    fake.on("POST /serve", problem(422, "The model does not fit", "needs 900 MB, 512 MB were asked for"))
    result = person.types("serve", "Tiny")
    assert (result.exit_code, result.stderr.splitlines()) == (
        6,
        ["Error: The model does not fit", "  needs 900 MB, 512 MB were asked for"],
    )


def test_a_served_model_is_not_removed_by_accident(person: Person, fake: Fake) -> None:
    """Refused, naming the server and both ways on; nothing is deleted."""
    result = person.types("rm", "Tiny")
    deletions = [call for call, _, _ in fake.seen if call.startswith("DELETE")]
    assert (result.exit_code, deletions, "--all" in result.stderr, "server tiny" in result.stderr) == (
        6,
        [],
        True,
        True,
    )


@pytest.mark.parametrize(
    ("option", "expected"),
    [("--server", ["DELETE /serve/tiny"]), ("--all", ["DELETE /serve/tiny", "DELETE /models/m-1"])],
)
def test_rm_removes_what_it_is_told_to(person: Person, fake: Fake, option: str, expected: list[str]) -> None:
    """The server is gone before the model is deleted."""
    fake.on("GET /status/s-1", (200, SERVER), (200, SERVER | {"status": "deleted"}))
    result = person.types("rm", "Tiny", option)
    assert (result.exit_code, [call for call, _, _ in fake.seen if call.startswith("DELETE")]) == (0, expected)
