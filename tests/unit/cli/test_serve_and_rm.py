"""`serve` and `rm`: servers come and go, models are not removed by accident."""

from typing import Any

import pytest

from tests.unit.cli.fake import SERVER, Fake, Person, problem

ROLLOUT: dict[str, Any] = {
    "uuid": "r-1",
    "status": "starting",
    "strategy": "canary",
    "model_name": "Tiny",
    "previous_model_name": "Tiny",
    "percent": 0,
    "step": 0,
    "steps": [5, 100],
    "why": "the new revision is starting",
    "measures": None,
}
DETAIL: dict[str, Any] = SERVER | {"cold_starts": [], "rollout": None, "rollouts": []}


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


def test_a_change_that_is_rolled_out_is_not_said_to_be_there(person: Person, fake: Fake) -> None:
    """What serves is still what it was: the rollout is shown, and where to look at it."""
    fake.on("PATCH /serve/tiny", (202, SERVER))
    fake.on("GET /status/tiny", (200, DETAIL | {"rollout": ROLLOUT}))
    result = person.types("serve", "tiny", "--change", "--memory", "4096")
    assert fake.bodies("PATCH /serve/tiny") == [{"memory_mb": 4096}]
    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        [
            "Rollout:   Tiny -> Tiny, canary",
            "At:        starting, 0 % of the traffic (steps: 5, 100)",
            "Because:   the new revision is starting",
            "kn model rollout tiny shows how it goes",
        ],
    )
    shown = person.gets("serve", "tiny", "--change", "--memory", "4096")
    assert ("tiny", ROLLOUT) == (shown["name"], shown["rollout"])


def test_a_change_of_scale_holds_at_once(person: Person, fake: Fake) -> None:
    """No rollout is on, so the server is waited for as always."""
    fake.on("PATCH /serve/tiny", (202, SERVER))
    fake.on("GET /status/tiny", (200, DETAIL))
    result = person.types("serve", "tiny", "--change", "--min", "1")
    assert fake.bodies("PATCH /serve/tiny") == [{"scale": {"min": 1}}]
    assert (result.exit_code, result.stdout) == (0, 'tiny is ready: kn model chat tiny "Hello"\n')


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
