"""`ls`, `ps`, `show` and `logs`: what people read, and what programs get."""

import pytest

from tests.unit.cli.fake import MODEL, SERVER, TOKEN, Fake, Person


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


def test_status_shows_a_server_and_how_long_it_takes_to_wake(person: Person, fake: Fake) -> None:
    """The last start and the middle of all, phase by phase; programs get the record as it is."""
    last = {"schedule_ms": 2000, "fetch_ms": 9100, "load_ms": 14950, "ready_ms": None}
    starts = {"revision": "tiny-00001", "starts": 3, "last_at": "2026-01-31T12:00:00Z", "last": last, "median": last}
    server = {
        **SERVER,
        "status": "failed",
        "error": "no room",
        "cold_starts": [starts],
        "rollout": None,
        "rollouts": [],
    }
    fake.on("GET /status/tiny", (200, server))
    lines = [line.split() for line in person.types("status", "tiny").stdout.splitlines()]
    assert [["Status:", "failed"], ["Reason:", "no", "room"]] == lines[2:4]
    phases = ["2.0", "s", "9.1", "s", "14.9", "s", "-"]
    assert [["tiny-00001", "3", "last", *phases], ["median", *phases]] == lines[-2:]
    assert server == person.gets("status", "tiny")


def test_status_of_a_server_that_never_started_has_no_table(person: Person, fake: Fake) -> None:
    """There is nothing to show of its starts."""
    fake.on("GET /status/tiny", (200, {**SERVER, "cold_starts": [], "rollout": None, "rollouts": []}))
    assert "COLD STARTS" not in person.types("status", "tiny").stdout
