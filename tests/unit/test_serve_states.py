"""From what the cluster says to a server's state: the table of states, and conditions read as Knative writes them."""

from typing import Any

import msgspec
import pytest

from functions.serve import names, observe, states
from functions.serve.observe import Finding, Observation
from functions.serve.problems import BadName
from functions.serve.states import Cause, State

GENERATION = "serving.knative.dev/configurationGeneration"
LABELS = {"torpor.dev/model": "m-1", "torpor.dev/server": "s-1"}


def condition(kind: str, status: str, reason: str = "", message: str = "") -> dict[str, str]:
    """One condition."""
    return {"type": kind, "status": status, "reason": reason, "message": message}


def ksvc(*conditions: dict[str, str], version: int = 10, generation: int = 1, observed: int = 1) -> dict[str, Any]:
    """A Knative Service whose latest revision is smol-0000<observed>."""
    return {
        "kind": "Service",
        "metadata": {
            "name": "smol",
            "uid": "u-1",
            "resourceVersion": str(version),
            "generation": generation,
            "labels": LABELS,
        },
        "status": {
            "observedGeneration": observed,
            "conditions": list(conditions),
            "latestCreatedRevisionName": f"smol-{observed:05}",
        },
    }


def revision(*conditions: dict[str, str], version: int = 10, number: int = 1, replicas: int = 0) -> dict[str, Any]:
    """The revision smol-0000<number>."""
    return {
        "kind": "Revision",
        "metadata": {
            "name": f"smol-{number:05}",
            "uid": f"r-{number}",
            "resourceVersion": str(version),
            "generation": 1,
            "labels": {**LABELS, GENERATION: str(number)},
        },
        "status": {"observedGeneration": 1, "conditions": list(conditions), "actualReplicas": replicas},
    }


def known(*objects: dict[str, Any]) -> Observation:
    """What is known after these objects were seen in this order."""
    seen = Observation()
    for obj in objects:
        follow = observe.with_service if obj["kind"] == "Service" else observe.with_revision
        seen = follow(seen, observe.read(obj)) or seen
    return seen


READY = condition("Ready", "True")
AWAKE = condition("Active", "True")
ASLEEP = condition("Active", "False", "NoTraffic", "The target is not receiving traffic.")
DEPLOYING = condition("Ready", "Unknown", "Deploying")
FAILED = condition("Ready", "False", "RevisionFailed", 'Revision "smol-00001" failed with message: …')
NO_CPU = condition("ResourcesAvailable", "False", "Unschedulable", "0/1 nodes are available: 1 Insufficient cpu.")
TOO_LATE = condition("ResourcesAvailable", "False", "ProgressDeadlineExceeded", "Initial scale was never achieved")
CRASHING = condition("ContainerHealthy", "Unknown", "CrashLoopBackOff", "back-off 10s restarting failed container")
KILLED = condition("ContainerHealthy", "False", "ExitCode137", "Container failed with: Killed")
PULLING = condition("ContainerHealthy", "False", "ContainerMissing", "Unable to fetch image: unauthorized")

FINDINGS = [
    pytest.param([], Cause.PROGRESSING, "", id="nothing seen yet"),
    pytest.param([ksvc()], Cause.PROGRESSING, "", id="no condition yet"),
    pytest.param([ksvc(READY, generation=2)], Cause.PROGRESSING, "", id="ready, but for the generation before"),
    pytest.param([ksvc(DEPLOYING), revision(DEPLOYING)], Cause.PROGRESSING, "", id="deploying is no trouble"),
    pytest.param([ksvc(READY)], Cause.AWAKE, "", id="ready, revision not seen"),
    pytest.param([ksvc(READY), revision(READY, AWAKE, replicas=1)], Cause.AWAKE, "", id="a replica answers"),
    pytest.param([ksvc(READY), revision(READY, ASLEEP)], Cause.SLEEPING, "", id="scaled to zero"),
    pytest.param(
        [ksvc(READY), revision(READY, condition("Active", "False", "ExitCode1", "the engine does not start: …"))],
        Cause.BROKEN,
        "ExitCode1: the engine does not start: …",
        id="ready once, and cannot be woken now",
    ),
    pytest.param(
        [ksvc(READY), revision(READY, condition("Active", "Unknown", "Activating"))],
        Cause.SLEEPING,
        "",
        id="waking, none there yet",
    ),
    pytest.param(
        [ksvc(READY), revision(READY, condition("Active", "Unknown", "Deploying"), replicas=1)],
        Cause.AWAKE,
        "",
        id="undecided, one there",
    ),
    pytest.param(
        [ksvc(FAILED), revision(NO_CPU)],
        Cause.BROKEN,
        "no node has the CPU, memory or GPU that it asks for "
        "(Unschedulable: 0/1 nodes are available: 1 Insufficient cpu.)",
        id="unschedulable",
    ),
    pytest.param(
        [ksvc(FAILED), revision(TOO_LATE, KILLED)],
        Cause.BROKEN,
        "it was killed, most likely for more memory than its limit; ask for more with memory_mb "
        "(ExitCode137: Container failed with: Killed)",
        id="the container's end explains the deadline",
    ),
    pytest.param(
        [ksvc(FAILED), revision(PULLING)],
        Cause.BROKEN,
        "the engine's image cannot be pulled (ContainerMissing: Unable to fetch image: unauthorized)",
        id="image",
    ),
    pytest.param(
        [ksvc(DEPLOYING), revision(CRASHING, DEPLOYING)],
        Cause.PROGRESSING,
        "CrashLoopBackOff: back-off 10s restarting failed container",
        id="a crash loop is told before the deadline",
    ),
    pytest.param(
        [ksvc(FAILED)],
        Cause.BROKEN,
        'RevisionFailed: Revision "smol-00001" failed with message: …',
        id="the Service's words when the revision was not seen",
    ),
    pytest.param(
        [ksvc(DEPLOYING, observed=2, generation=2), revision(NO_CPU, number=1)],
        Cause.PROGRESSING,
        "",
        id="an older revision's trouble is over",
    ),
]


@pytest.mark.parametrize(("objects", "cause", "error"), FINDINGS)
def test_what_the_objects_say(objects: list[dict[str, Any]], cause: Cause, error: str) -> None:
    """Conditions and replicas become one cause, and a sentence for people where something is wrong."""
    assert observe.find(known(*objects)) == Finding(cause, error)


def test_late_events_change_nothing() -> None:
    """An older version of an object, and an older revision, are no news."""
    now = known(ksvc(READY, version=20), revision(READY, AWAKE, version=21, number=2, replicas=1))
    old = observe.read(ksvc(FAILED, version=19))
    assert observe.with_service(now, old) is None
    assert observe.with_revision(now, observe.read(revision(NO_CPU, version=20, number=2))) is None
    assert observe.with_revision(now, observe.read(revision(NO_CPU, version=99, number=1))) is None


def test_the_same_event_again_is_no_news() -> None:
    """Redelivery writes nothing."""
    now = known(ksvc(READY, version=20))
    assert observe.with_service(now, observe.read(ksvc(READY, version=20))) is None


def test_a_service_made_again_forgets_the_old_revisions() -> None:
    """Revision numbers start again with it."""
    again = ksvc(DEPLOYING, version=30)
    again["metadata"]["uid"] = "u-2"
    before = known(ksvc(READY, version=20), revision(READY, number=7, version=21))
    after = observe.with_service(before, observe.read(again))
    assert after is not None
    assert after.revision is None


def test_an_observation_survives_the_database() -> None:
    """JSON and back."""
    seen = known(ksvc(READY), revision(READY, AWAKE, replicas=2))
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(seen)), Observation) == seen


def test_other_peoples_objects_are_not_followed() -> None:
    """Only both labels make an object a server's."""
    obj = ksvc()
    obj["metadata"]["labels"] = {"torpor.dev/server": "s-1"}
    assert observe.server_uuid(obj) is None


TABLE = {
    Cause.REQUESTED: State.PENDING,
    Cause.REFUSED: State.FAILED,
    Cause.PROGRESSING: State.DEPLOYING,
    Cause.AWAKE: State.READY,
    Cause.SLEEPING: State.ASLEEP,
    Cause.BROKEN: State.FAILED,
    Cause.REMOVED: State.DELETED,
}


@pytest.mark.parametrize("state", [state for state in State if state is not State.DELETED])
@pytest.mark.parametrize("cause", list(Cause))
def test_a_live_server_goes_where_the_cluster_is(state: State, cause: Cause) -> None:
    """Events can be lost, so every live state can follow every other."""
    assert states.SERVER.after(state, cause) is TABLE[cause]


@pytest.mark.parametrize("cause", list(Cause))
def test_nothing_leads_out_of_deleted(cause: Cause) -> None:
    """A late event of the old object does not bring the server back."""
    assert states.SERVER.after(State.DELETED, cause) is None


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("SmolLM2-135M-Instruct", "smollm2-135m-instruct"),
        ("Qwen2.5_7B", "qwen2-5-7b"),
        ("owner/Name", "owner-name"),
        ("7b-chat", "model-7b-chat"),
        ("status", "model-status"),
        ("模型", "model"),
        ("x" * 60, "x" * 40),
        ("y" * 39 + "-z", "y" * 39),
    ],
)
def test_the_default_name_comes_from_the_model(model: str, expected: str) -> None:
    """And is always one that Knative takes."""
    assert names.check(names.from_model(model)) == expected


@pytest.mark.parametrize(
    "name",
    ["", "Upper", "1st", "-a", "a-", "a.b", "a/b", "../a", "a\n", "a" * 41, "auth", "download", "serve", "status", "ä"],
)
def test_a_name_that_no_service_can_have_is_refused(name: str) -> None:
    """DNS-1035, at most 40 characters, and none of Torpor's own functions."""
    with pytest.raises(BadName):
        names.check(name)
