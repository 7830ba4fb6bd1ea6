"""Statuses say of a service what Knative would say: conditions, reasons and traffic."""

from typing import Any

import pytest

from kn_model.local.addresses import Addresses
from kn_model.local.objects.conditions import Condition, read, summary, written
from kn_model.local.serving.instance import StartFailed
from kn_model.local.serving.objects import revision_for
from kn_model.local.serving.replicas import State
from kn_model.local.serving.status import configuration_status, revision_status, traffic

HERE = Addresses("http://127.0.0.1:8780", "https://127.0.0.1:6443")
NOW = "2026-01-02T00:00:00Z"


def revision(name: str, ready: str = "True", generation: int = 1) -> dict[str, Any]:
    """A stored revision."""
    labels = {"serving.knative.dev/configurationGeneration": str(generation)}
    return {
        "metadata": {"name": name, "generation": 1, "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
        "status": {"conditions": [{"type": "Ready", "status": ready, "message": "why"}]},
    }


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Status and reason by type."""
    return {one["type"]: (one["status"], one.get("reason", "")) for one in status["conditions"]}


@pytest.mark.parametrize(
    ("state", "ready", "active"),
    [
        (State(0, 1, achieved=False, failure=None), ("Unknown", "Deploying"), ("Unknown", "Queued")),
        (State(1, 1, achieved=True, failure=None), ("True", ""), ("True", "")),
        (State(0, 0, achieved=True, failure=None), ("True", ""), ("False", "NoTraffic")),
        (State(0, 1, False, StartFailed("ExitCode1", "boom")), ("False", "ExitCode1"), ("False", "ExitCode1")),
        (State(0, 1, True, StartFailed("ExitCode1", "boom")), ("True", ""), ("False", "ExitCode1")),
    ],
    ids=["deploying", "running", "asleep", "failed", "fails to wake"],
)
def test_a_revision_tells_how_its_replicas_stand(state: State, ready: Any, active: Any) -> None:
    """Once the initial scale was achieved a revision stays Ready; Active says whether it runs."""
    found = conditions(revision_status(revision("r"), state, NOW))
    assert (found["Ready"], found["Active"]) == (ready, active)


def test_no_room_is_a_matter_of_resources() -> None:
    """Unschedulable shows in ResourcesAvailable and leaves the container's health open."""
    state = State(0, 1, False, StartFailed("Unschedulable", "0/1 nodes are available"))
    found = conditions(revision_status(revision("r"), state, NOW))
    assert (found["ResourcesAvailable"], found["ContainerHealthy"][0]) == (("False", "Unschedulable"), "Unknown")


def test_a_failed_revision_is_named_by_its_configuration() -> None:
    """The words that kn prints."""
    configuration = {"metadata": {"generation": 2}}
    status = configuration_status(configuration, revision("x-00002", "False"), "x-00001", NOW)
    assert status["conditions"][0]["message"] == 'Revision "x-00002" failed with message: why.'
    assert (status["latestCreatedRevisionName"], status["latestReadyRevisionName"]) == ("x-00002", "x-00001")


def test_traffic_names_revisions_and_tags() -> None:
    """Latest becomes the newest ready revision; tags get addresses."""
    route = {
        "metadata": {"name": "x", "namespace": "torpor"},
        "spec": {
            "traffic": [
                {"revisionName": "x-00001", "percent": 90},
                {"latestRevision": True, "percent": 10, "tag": "new"},
            ]
        },
    }
    known = {"x-00001": revision("x-00001"), "x-00002": revision("x-00002")}
    assert traffic(route, known, "x-00002", HERE).targets == [
        {"revisionName": "x-00001", "latestRevision": False, "percent": 90},
        {
            "revisionName": "x-00002",
            "latestRevision": True,
            "percent": 10,
            "tag": "new",
            "url": "http://127.0.0.1:8780/_svc/torpor/new-x",
        },
    ]


@pytest.mark.parametrize(
    ("name", "status"), [("x-00002", False), ("x-00009", False), ("x-00003", None)], ids=["failed", "missing", "new"]
)
def test_unfit_targets_keep_the_old_traffic(name: str, status: bool | None) -> None:  # noqa: FBT001  # a condition's
    """One target that is not ready stops the whole change, as on a cluster."""
    old = [{"revisionName": "x-00001", "percent": 100}]
    route = {
        "metadata": {"name": "x", "namespace": "torpor"},
        "spec": {"traffic": [{"revisionName": name, "percent": 100}]},
        "status": {"traffic": old},
    }
    known = {"x-00002": revision("x-00002", "False"), "x-00003": revision("x-00003", "Unknown")}
    found = traffic(route, known, "", HERE)
    assert found.targets == old
    assert found.problem
    assert found.problem.status is status


def test_revisions_are_named_by_generation() -> None:
    """`<name>-%05d`, with annotations that are never missing, owned by the Configuration."""
    owner = {"uid": "s"}
    configuration = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Configuration",
        "metadata": {"name": "x", "namespace": "n", "generation": 7, "uid": "u", "ownerReferences": [owner]},
        "spec": {"template": {"spec": {"containers": []}}},
    }
    made = revision_for(configuration)["metadata"]
    assert (made["name"], made["annotations"], made["ownerReferences"][0]["uid"]) == ("x-00007", {}, "u")
    configuration["spec"]["template"]["metadata"] = {"name": "x-mine"}  # type: ignore[index]
    assert revision_for(configuration)["metadata"]["name"] == "x-mine"


def test_the_transition_time_moves_with_the_status_alone() -> None:
    """Another message is no transition."""
    before = {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    same = written([Condition("Ready", status=True, message="new")], before, NOW)
    assert same[0]["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert written([Condition("Ready", status=False)], before, NOW)[0]["lastTransitionTime"] == NOW


def test_ready_is_the_worst_of_all() -> None:
    """False beats Unknown beats True, and what is only information does not count."""
    good, unknown, bad = Condition("A", status=True), Condition("B", None, "Wait"), Condition("C", False, "Broken")
    info = Condition("D", False, severity="Info")
    assert summary([good, info]).status is True
    assert (summary([good, unknown, info]).status, summary([good, unknown]).reason) == (None, "Wait")
    assert summary([unknown, bad]).reason == "Broken"
    assert read(None) == Condition("Ready", status=None)
