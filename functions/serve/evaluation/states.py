"""The states of an evaluation, and of each of its candidates. Pure.

- waiting: for candidates that are still being fetched, until its deadline
- asking: its candidates are served one after the other and asked its prompts
- promoting: the winner is known; the pointer is written and the alias's server goes over
- failed: nothing was there, nothing was good enough, or the winner cannot be served
- superseded: a later evaluation of the same alias was faster
- cancelled, selected: over

A candidate:

- waiting: for its turn
- deploying: its temporary server is being made
- asking: prompts are answered, a few at a time
- dropped: it has no score, and `why` says so
- scored: over
"""

from enum import StrEnum
from typing import Final

from functions.kit.states import Machine


class EvaluationState(StrEnum):
    """The value of evaluations.status."""

    WAITING = "waiting"
    ASKING = "asking"
    PROMOTING = "promoting"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    SELECTED = "selected"


class EvaluationCause(StrEnum):
    """What moves an evaluation."""

    GATHERED = "gathered"  # all candidates are there, or the deadline has passed and some are
    DECIDED = "decided"  # every candidate is scored or dropped, and one of them wins
    REFUSED = "refused"  # no candidate is there, none is good enough, or the winner cannot be served
    OVERTAKEN = "overtaken"  # the pointer names the winner of a later evaluation
    POINTED = "pointed"  # the pointer names the winner, and the alias's server was told
    CANCELLED = "cancelled"  # a person cancelled it


class CandidateState(StrEnum):
    """The value of evaluation_candidates.status."""

    WAITING = "waiting"
    DEPLOYING = "deploying"
    ASKING = "asking"
    DROPPED = "dropped"
    SCORED = "scored"


class CandidateCause(StrEnum):
    """What moves a candidate."""

    DEPLOYED = "deployed"  # its temporary server is asked for
    SERVING = "serving"  # the server can be asked
    ANSWERED = "answered"  # the last prompt is answered
    FAILED = "failed"  # it is not there, does not fit, does not start, or takes too long
    CANCELLED = "cancelled"  # the evaluation was cancelled


_E, _EC = EvaluationState, EvaluationCause
EVALUATION: Final = Machine(
    kind="evaluation",
    title="An evaluation",
    start=_E.WAITING,
    ends=frozenset({_E.FAILED, _E.SUPERSEDED, _E.CANCELLED, _E.SELECTED}),
    back={},
    table={
        (_E.WAITING, _EC.GATHERED): _E.ASKING,
        (_E.ASKING, _EC.DECIDED): _E.PROMOTING,
        (_E.PROMOTING, _EC.POINTED): _E.SELECTED,
        (_E.PROMOTING, _EC.OVERTAKEN): _E.SUPERSEDED,
        **{
            (state, cause): after
            for state in (_E.WAITING, _E.ASKING, _E.PROMOTING)
            for cause, after in ((_EC.REFUSED, _E.FAILED), (_EC.CANCELLED, _E.CANCELLED))
        },
    },
)

_C, _CC = CandidateState, CandidateCause
CANDIDATE: Final = Machine(
    kind="candidate",
    title="A candidate of an evaluation",
    start=_C.WAITING,
    ends=frozenset({_C.DROPPED, _C.SCORED}),
    back={},
    table={
        (_C.WAITING, _CC.DEPLOYED): _C.DEPLOYING,
        (_C.DEPLOYING, _CC.SERVING): _C.ASKING,
        (_C.ASKING, _CC.ANSWERED): _C.SCORED,
        **{
            (state, cause): _C.DROPPED
            for state in (_C.WAITING, _C.DEPLOYING, _C.ASKING)
            for cause in (_CC.FAILED, _CC.CANCELLED)
        },
    },
)
