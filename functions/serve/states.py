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


_OBSERVED: Final[Mapping[Cause, State]] = {
    Cause.PROGRESSING: State.DEPLOYING,
    Cause.AWAKE: State.READY,
    Cause.SLEEPING: State.ASLEEP,
    Cause.BROKEN: State.FAILED,
}
_ASKED: Final[Mapping[Cause, State]] = {
    Cause.REQUESTED: State.PENDING,
    Cause.REFUSED: State.FAILED,
    Cause.REMOVED: State.DELETED,
}
_LIVE: Final[Mapping[Cause, State]] = {**_ASKED, **_OBSERVED}
TRANSITIONS: Final[Mapping[State, Mapping[Cause, State]]] = {
    State.PENDING: _LIVE,
    State.DEPLOYING: _LIVE,
    State.READY: _LIVE,
    State.ASLEEP: _LIVE,
    State.FAILED: _LIVE,
    State.DELETED: {},
}


def after(state: State, cause: Cause) -> State | None:
    """The next state, or None when `cause` has no effect on a server in `state`."""
    return TRANSITIONS[state].get(cause)
