"""The states of a rollout: one new revision of a server on its way to all of the traffic. Pure.

Moved by `rows.move` alone, from what `steps` decides or a person does (docs/rollout.md).

- candidate: the revision is made, tagged, at 0 %
- warming: it is ready; a real prompt is asked and its answer looked at. Where there is room for one only, it has the
  traffic by now, and the old revision's replicas end
- stepping: it has a part of the traffic, which grows while the gates hold
- paused: it keeps the part that it has until a person goes on
- failed: it never got traffic, for it did not start or answered wrongly
- rolled back: it had traffic, or was to have it, and the serving revision has all of it again
- superseded: something newer is wanted, or nothing at all
- promoted: it has all of the traffic
"""

from enum import StrEnum
from typing import Final

from functions.kit.states import Machine


class RolloutState(StrEnum):
    """The value of rollouts.status."""

    CANDIDATE = "candidate"
    WARMING = "warming"
    STEPPING = "stepping"
    PAUSED = "paused"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    SUPERSEDED = "superseded"
    PROMOTED = "promoted"


class RolloutCause(StrEnum):
    """What moves a rollout."""

    STARTED = "started"  # the revision is ready
    PROVED = "proved"  # the prompt was answered as it should be: the first step
    ADVANCED = "advanced"  # the gates held for as long as a step lasts: the next one
    HELD = "held"  # a person pauses it
    RESUMED = "resumed"  # a person lets it go on
    FINISHED = "finished"  # the last step's gates held, or a person promotes it
    BROKEN = "broken"  # it did not start in time, crashed, or answered wrongly
    BREACHED = "breached"  # a gate: too many errors, first tokens too late
    WITHDRAWN = "withdrawn"  # a person rolls it back
    REPLACED = "replaced"  # a newer request, or the server or its model was deleted


_S, _C = RolloutState, RolloutCause
ROLLOUT: Final = Machine(
    kind="rollout",
    title="A rollout",
    start=_S.CANDIDATE,
    ends=frozenset({_S.FAILED, _S.ROLLED_BACK, _S.SUPERSEDED, _S.PROMOTED}),
    back={_C.RESUMED: "a person lets it go on"},
    table={
        (_S.CANDIDATE, _C.STARTED): _S.WARMING,
        (_S.WARMING, _C.PROVED): _S.STEPPING,
        (_S.STEPPING, _C.ADVANCED): _S.STEPPING,
        (_S.STEPPING, _C.HELD): _S.PAUSED,
        (_S.PAUSED, _C.RESUMED): _S.STEPPING,
        # A cluster with one GPU has no room for steps: there a proved candidate takes everything at once.
        (_S.WARMING, _C.FINISHED): _S.PROMOTED,
        (_S.STEPPING, _C.FINISHED): _S.PROMOTED,
        (_S.PAUSED, _C.FINISHED): _S.PROMOTED,
        (_S.CANDIDATE, _C.BROKEN): _S.FAILED,
        (_S.WARMING, _C.BROKEN): _S.FAILED,
        # Whatever happens to one that has traffic, the traffic goes back.
        (_S.STEPPING, _C.BROKEN): _S.ROLLED_BACK,
        (_S.PAUSED, _C.BROKEN): _S.ROLLED_BACK,
        (_S.STEPPING, _C.BREACHED): _S.ROLLED_BACK,
        (_S.PAUSED, _C.BREACHED): _S.ROLLED_BACK,
        **{
            (state, cause): after
            for state in (_S.CANDIDATE, _S.WARMING, _S.STEPPING, _S.PAUSED)
            for cause, after in ((_C.WITHDRAWN, _S.ROLLED_BACK), (_C.REPLACED, _S.SUPERSEDED))
        },
    },
)
