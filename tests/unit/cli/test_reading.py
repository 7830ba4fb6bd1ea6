"""`ls`, `ps`, `show` and `logs`: what people read, and what programs get."""

import pytest

from tests.unit.cli.fake import MODEL, TOKEN, Fake, Person


def test_calls_carry_the_token(person: Person, fake: Fake) -> None:
    """Who calls is said on every call."""
    person.types("ls")
    assert fake.seen == [("GET /models", None, f"Bearer {TOKEN}")]


def test_ls_shows_models_and_json_keeps_the_api_s_fields(person: Person) -> None:
    """A table for people, the records for programs."""
    lines = person.types("ls").stdout.splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["NAME", "STATUS", "SIZE", "SERVER"],
        ["Tiny", "available", "2.0", "MB"],
    ]
    assert person.gets("ls") == {"models": [MODEL | {"files": None}]}


def test_ls_reads_every_page(person: Person, fake: Fake) -> None:
    """A list is whole, however long."""
    first = {"models": [MODEL], "next_cursor": "abc"}
    fake.on("GET /models", (200, first), (200, {"models": [MODEL], "next_cursor": None}))
    assert len(person.gets("ls")["models"]) == 2


def test_ps_shows_what_sleeps(person: Person) -> None:
    """Name, status, replicas and the address."""
    line = person.types("ps").stdout.splitlines()[1]
    assert [line.split()[index] for index in (0, 2, 3, -1)] == ["tiny", "ready", "0", "http://front/m/tiny/v1"]


@pytest.mark.parametrize("name", ["Tiny", "tiny"])
def test_show_takes_the_name_of_a_model_or_of_its_server(person: Person, name: str) -> None:
    """People remember one of the two."""
    assert person.gets("show", name)["uuid"] == "m-1"


def test_logs_are_found_by_service_and_by_model_name(person: Person) -> None:
    """The newest instance's last lines."""
    folder = person.home / ".torpor" / "logs" / "tiny-model"
    folder.mkdir(parents=True)
    (folder / "a.log").write_text("one\ntwo\nthree\n")
    assert person.types("logs", "Tiny.Model", "-n", "2").stdout == "two\nthree\n"
    assert person.types("logs").stdout == "tiny-model\n"


@pytest.mark.parametrize("name", ["other", "../config", ".", "/etc"])
def test_a_log_that_is_not_there_is_named(person: Person, name: str) -> None:
    """Exit code 4; no name leads out of the folder."""
    (person.home / ".torpor" / "logs").mkdir(parents=True)
    assert person.types("logs", name).exit_code == 4


def test_logs_on_a_cluster_are_kubectl_s(person: Person) -> None:
    """The exact command, since the client has no way to pod logs."""
    result = person.types("logs", "tiny")
    assert (result.exit_code, "kubectl logs -n torpor -l serving.knative.dev/service=tiny" in result.stderr) == (
        4,
        True,
    )
