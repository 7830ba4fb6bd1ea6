"""The states of an asynchronous inference request. Pure.

Moved by the endpoints, the worker and the tick, each of which has the row locked and asks `queue.allows` before.

- queued: stored; its event is on the way, or waits for a free place
- running: a worker holds its lease and asks the model
- failed: the model refused it, or every attempt failed; the latter is also a dead letter, which can be sent again
- cancelled, expired, completed: over; the result or the reason is kept
"""

from enum import StrEnum
from typing import Final

from functions.kit.states import Machine


class InferenceState(StrEnum):
    """The value of inference_requests.status."""

    QUEUED = "queued"
    RUNNING = "running"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    COMPLETED = "completed"


class InferenceCause(StrEnum):
    """What moves an inference request."""

    CLAIMED = "claimed"  # a worker took its lease, the first one or another after it died
    RELEASED = "released"  # the model could not answer now: its event comes again
    ANSWERED = "answered"  # the result is stored
    REFUSED = "refused"  # the model refused it, or every attempt failed
    REDRIVEN = "redriven"  # an operator has its dead letter sent again
    CANCELLED = "cancelled"  # a person cancelled it
    EXPIRED = "expired"  # its deadline has passed


_S, _C = InferenceState, InferenceCause
INFERENCE: Final = Machine(
    kind="inference",
    title="An asynchronous inference request",
    start=_S.QUEUED,
    ends=frozenset({_S.CANCELLED, _S.EXPIRED, _S.COMPLETED}),
    back={_C.RELEASED: "bad luck is tried again", _C.REDRIVEN: "an operator has mended what made it fail"},
    table={
        (_S.QUEUED, _C.CLAIMED): _S.RUNNING,
        (_S.RUNNING, _C.CLAIMED): _S.RUNNING,
        (_S.RUNNING, _C.RELEASED): _S.QUEUED,
        (_S.RUNNING, _C.ANSWERED): _S.COMPLETED,
        (_S.FAILED, _C.REDRIVEN): _S.QUEUED,
        **{
            (state, cause): after
            for state in (_S.QUEUED, _S.RUNNING)
            for cause, after in (
                (_C.REFUSED, _S.FAILED),
                (_C.CANCELLED, _S.CANCELLED),
                (_C.EXPIRED, _S.EXPIRED),
            )
        },
    },
)
