"""The states of a server, as a table: what is absent cannot happen. Pure.

- pending: asked for; the cluster has not been told yet
- deploying: the Knative Service is made or changed, and not ready
- ready: at least one replica answers
- asleep: healthy at zero replicas; a call wakes it
- failed: it cannot run as it is; `error` says why. A change of the request, or of the cluster's mind, mends it
- deleted: over; nothing leads out
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from functions.kit.states import Machine


class State(StrEnum):
    """The value of server_records.status."""

    PENDING = "pending"
    DEPLOYING = "deploying"
    READY = "ready"
    ASLEEP = "asleep"
    FAILED = "failed"
    DELETED = "deleted"


class Cause(StrEnum):
    """What moves a server from one state to another."""

    REQUESTED = "requested"  # a person (re)requested or changed it, or its objects vanished
    REFUSED = "refused"  # the contract or the Kubernetes API refused it
    PROGRESSING = "progressing"  # the Kubernetes API took its objects; the cluster works on it
    AWAKE = "awake"  # the revision is ready and has replicas
    SLEEPING = "sleeping"  # the revision is ready and has none
    BROKEN = "broken"  # the cluster reports that it cannot run
    REMOVED = "removed"  # a person deleted it


_LEADS_TO: Final[Mapping[Cause, State]] = {
    Cause.REQUESTED: State.PENDING,
    Cause.REFUSED: State.FAILED,
    Cause.PROGRESSING: State.DEPLOYING,
    Cause.AWAKE: State.READY,
    Cause.SLEEPING: State.ASLEEP,
    Cause.BROKEN: State.FAILED,
    Cause.REMOVED: State.DELETED,
}

SERVER: Final[Machine[State, Cause]] = Machine(
    kind="server",
    title="A server",
    start=State.PENDING,
    ends=frozenset({State.DELETED}),
    back={
        Cause.REQUESTED: "a person changes it, or its objects vanished",
        Cause.PROGRESSING: "a change is rolled out; the versions of the objects say that this is no old news",
        Cause.AWAKE: "a call wakes it, or the cluster has mended it",
        Cause.SLEEPING: "the cluster has mended it while nobody called",
    },
    # Events can be lost, so every live state can follow every other.
    table={
        (state, cause): after for state in State if state is not State.DELETED for cause, after in _LEADS_TO.items()
    },
)
