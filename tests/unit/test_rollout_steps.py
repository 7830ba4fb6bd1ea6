"""What a rollout does next, by table: pure decisions of what one look found."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.serve.requests import RolloutOptions, ServeOptions
from functions.serve.rollout import steps
from functions.serve.rollout.gates import Verdict
from functions.serve.rollout.prompts import Proof
from functions.serve.rollout.rows import Rollout
from functions.serve.rollout.sight import Sight
from functions.serve.rollout.states import RolloutCause, RolloutState
from functions.serve.rollout.steps import MARGIN_S, Facts

_S, _C = RolloutState, RolloutCause
NOW = datetime(2026, 1, 1, tzinfo=UTC)
START_S = 60.0
UP = Sight(candidate="smol-00002", ready=True, routed=True, replicas=1)
CRASHED = Sight(candidate="smol-00002", failed=True, trouble="ExitCode1: no such file")
NO_ROOM = Sight(candidate="smol-00002", failed=True, passing=True, trouble="Insufficient nvidia.com/gpu")
OLD_RUNS = Sight(candidate="smol-00002", ready=True, routed=True, stable_replicas=2)
GONE = Sight(candidate="smol-00002", ready=True, routed=True, stable_present=False)
GOOD, BAD, NOT_YET = Proof(ok=True, why="Paris"), Proof(ok=False, why="fish"), Proof(None, "woken")


def _rollout(state: RolloutState, strategy: Any = "canary", age_s: float = 0, step: int = 0) -> Rollout:
    options = RolloutOptions(strategy=strategy, steps=(10, 100))
    since = NOW - timedelta(seconds=age_s)
    return Rollout("r", "s", state, options, "m-2", "better", ServeOptions(), "smol-00001", step, 10, since, {})


def _facts(sight: Sight, **more: Any) -> Facts:
    return Facts(sight, more.pop("obstacle", ""), START_S, NOW, **more)


LATE = START_S + MARGIN_S + 1
CASES = [
    pytest.param(_rollout(_S.CANDIDATE), _facts(Sight()), None, "is being made", id="no revision yet"),
    pytest.param(_rollout(_S.CANDIDATE), _facts(Sight("smol-00002")), None, "is starting", id="starting"),
    pytest.param(_rollout(_S.CANDIDATE), _facts(UP), _C.STARTED, "is ready", id="ready and routed"),
    pytest.param(_rollout(_S.CANDIDATE), _facts(Sight("c", ready=True)), None, "", id="ready, the tag not there yet"),
    pytest.param(_rollout(_S.CANDIDATE), _facts(CRASHED), _C.BROKEN, "no such file", id="crashed"),
    pytest.param(_rollout(_S.CANDIDATE), _facts(NO_ROOM), None, "Insufficient", id="no room"),
    pytest.param(_rollout(_S.CANDIDATE, age_s=LATE), _facts(NO_ROOM), _C.BROKEN, "within 180 s", id="no room for long"),
    pytest.param(_rollout(_S.CANDIDATE), _facts(UP, obstacle="deleted"), _C.BROKEN, "deleted", id="its model is gone"),
    pytest.param(_rollout(_S.CANDIDATE), _facts(GONE), _C.BROKEN, "made again", id="the old one is gone"),
    pytest.param(_rollout(_S.WARMING), _facts(UP, proof=GOOD), _C.PROVED, "Paris", id="answered"),
    pytest.param(_rollout(_S.WARMING), _facts(UP, proof=BAD), _C.BROKEN, "fish", id="answered wrongly"),
    pytest.param(_rollout(_S.WARMING), _facts(UP, proof=NOT_YET), None, "woken", id="no answer yet"),
    pytest.param(_rollout(_S.WARMING, age_s=LATE), _facts(UP, proof=NOT_YET), _C.BROKEN, "woken", id="never an answer"),
    pytest.param(_rollout(_S.WARMING), _facts(CRASHED), _C.BROKEN, "no such file", id="crashed before its prompt"),
    pytest.param(
        _rollout(_S.WARMING, "replace"), _facts(OLD_RUNS), None, "2 replica(s)", id="replace: the old one ends"
    ),
    pytest.param(_rollout(_S.WARMING, "replace"), _facts(UP, proof=GOOD), _C.FINISHED, "Paris", id="replace: answered"),
    pytest.param(_rollout(_S.WARMING, "replace"), _facts(UP, proof=BAD), _C.BROKEN, "fish", id="replace: wrongly"),
    pytest.param(
        _rollout(_S.WARMING, "replace"),
        _facts(GONE, proof=GOOD),
        _C.FINISHED,
        "Paris",
        id="replace: nothing to go back to",
    ),
    pytest.param(_rollout(_S.STEPPING), _facts(UP, verdict=Verdict("wait", "w")), None, "w", id="the step lasts"),
    pytest.param(_rollout(_S.STEPPING), _facts(UP, verdict=Verdict("advance", "a")), _C.ADVANCED, "a", id="next step"),
    pytest.param(
        _rollout(_S.STEPPING, step=1), _facts(UP, verdict=Verdict("advance", "a")), _C.FINISHED, "a", id="the last step"
    ),
    pytest.param(_rollout(_S.STEPPING), _facts(UP, verdict=Verdict("breach", "b")), _C.BREACHED, "b", id="breach"),
    pytest.param(
        _rollout(_S.STEPPING),
        _facts(NO_ROOM, verdict=Verdict("advance", "a")),
        _C.BROKEN,
        "Insufficient",
        id="callers wait",
    ),
    pytest.param(_rollout(_S.STEPPING), _facts(GONE), _C.BROKEN, "made again", id="the old one is gone under traffic"),
    pytest.param(_rollout(_S.PAUSED), _facts(UP, verdict=Verdict("advance", "a")), None, "a person", id="held"),
    pytest.param(
        _rollout(_S.PAUSED), _facts(UP, verdict=Verdict("breach", "b")), _C.BREACHED, "b", id="held, a breach"
    ),
    *(pytest.param(_rollout(state), _facts(CRASHED), None, "", id=state) for state in (_S.FAILED, _S.PROMOTED)),
]


@pytest.mark.parametrize(("rollout", "facts", "cause", "why"), CASES)
def test_what_follows(rollout: Rollout, facts: Facts, cause: RolloutCause | None, why: str) -> None:
    """The cause that moves it, None to wait; and the words for people."""
    following = steps.decide(rollout, facts)
    assert (following.cause, why in following.why) == (cause, True), following


@pytest.mark.parametrize(
    ("rollout", "sight", "asks"),
    [
        pytest.param(_rollout(_S.CANDIDATE), UP, False, id="not before it is ready"),
        pytest.param(_rollout(_S.WARMING), UP, True, id="ready"),
        pytest.param(_rollout(_S.WARMING), CRASHED, False, id="crashed"),
        pytest.param(_rollout(_S.WARMING), NO_ROOM, True, id="the question is what wakes it"),
        pytest.param(_rollout(_S.WARMING, "replace"), OLD_RUNS, False, id="replace: not while the old one runs"),
        pytest.param(_rollout(_S.STEPPING), UP, False, id="once is enough"),
    ],
)
def test_when_the_prompt_is_asked(rollout: Rollout, sight: Sight, asks: bool) -> None:  # noqa: FBT001  # a column
    """Only where it can prove something."""
    assert steps.asks(rollout, sight) is asks
