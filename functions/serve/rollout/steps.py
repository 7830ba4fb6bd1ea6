"""What a rollout does next, from what is known of it. Pure; called by `driver` at every event and tick."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from functions.serve.rollout.gates import Verdict
from functions.serve.rollout.prompts import Proof
from functions.serve.rollout.rows import Rollout
from functions.serve.rollout.sight import Sight
from functions.serve.rollout.states import RolloutCause, RolloutState

# On top of what the engine may take to start: to pull its image, and for the cluster to notice.
MARGIN_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What one look found.

    sight: the cluster. obstacle: why the model cannot be served any more, empty when it can. start_s: how long the engine
    may take. proof, verdict: only where they were asked for.
    """

    sight: Sight
    obstacle: str
    start_s: float
    now: datetime
    proof: Proof | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Next:
    """The cause that moves it, None while it waits; why: for people."""

    cause: RolloutCause | None
    why: str


def asks(rollout: Rollout, sight: Sight) -> bool:
    """Whether it is time for the prompt."""
    return (
        rollout.state is RolloutState.WARMING
        and not (sight.failed and not sight.passing)
        and not (rollout.replaces and sight.stable_replicas)
    )


def decide(rollout: Rollout, facts: Facts) -> Next:
    """The next move. One that has ended makes none."""
    if facts.obstacle:
        return Next(RolloutCause.BROKEN, facts.obstacle)
    if not facts.sight.stable_present and not rollout.replaces:
        return Next(RolloutCause.BROKEN, f"the revision {rollout.stable_revision} is gone; what served is made again")
    return _DECIDES[rollout.state](rollout, facts)


def _candidate(rollout: Rollout, facts: Facts) -> Next:
    sight = facts.sight
    if sight.failed and not sight.passing:
        return Next(RolloutCause.BROKEN, sight.trouble or "the cluster reports that it cannot run")
    if sight.ready and sight.routed:
        return Next(RolloutCause.STARTED, f"{sight.candidate} is ready")
    waiting = "its revision is being made" if not sight.candidate else f"{sight.candidate} is starting"
    return _late(rollout, facts) or Next(None, sight.trouble or waiting)


def _warming(rollout: Rollout, facts: Facts) -> Next:
    sight, proof = facts.sight, facts.proof
    if sight.failed and not sight.passing:
        return Next(RolloutCause.BROKEN, sight.trouble or "the cluster reports that it cannot run")
    if rollout.replaces and sight.stable_replicas:
        left = f"{sight.stable_replicas} replica(s) of {rollout.stable_revision} to end"
        return _late(rollout, facts) or Next(None, f"it waits for {left}")
    if proof is not None and proof.ok is not None:
        proved = RolloutCause.FINISHED if rollout.replaces else RolloutCause.PROVED
        return Next(proved if proof.ok else RolloutCause.BROKEN, proof.why)
    why = proof.why if proof else "its prompt is asked next"
    return _late(rollout, facts) or Next(None, sight.trouble or why)


def _stepping(rollout: Rollout, facts: Facts) -> Next:
    stopped = _stopped(facts)
    if stopped:
        return stopped
    verdict = facts.verdict
    if verdict is None or verdict.word == "wait":
        return Next(None, verdict.why if verdict else "its gates were not looked at yet")
    return Next(RolloutCause.FINISHED if rollout.at_last_step else RolloutCause.ADVANCED, verdict.why)


def _paused(_: Rollout, facts: Facts) -> Next:
    """A person holds it; that it is bad is acted on all the same."""
    return _stopped(facts) or Next(None, "a person holds it")


def _stopped(facts: Facts) -> Next | None:
    if facts.sight.failed:
        return Next(RolloutCause.BROKEN, facts.sight.trouble or "the cluster reports that it cannot run")
    if facts.verdict is not None and facts.verdict.word == "breach":
        return Next(RolloutCause.BREACHED, facts.verdict.why)
    return None


def _over(_: Rollout, __: Facts) -> Next:
    return Next(None, "")


def _late(rollout: Rollout, facts: Facts) -> Next | None:
    allowed = timedelta(seconds=facts.start_s + MARGIN_S)
    if facts.now - rollout.since <= allowed:
        return None
    trouble = facts.sight.trouble or (facts.proof.why if facts.proof else "")
    said = f": {trouble}" if trouble else ""
    return Next(RolloutCause.BROKEN, f"it was not ready to answer within {allowed.total_seconds():.0f} s{said}")


_DECIDES: Final = {
    RolloutState.CANDIDATE: _candidate,
    RolloutState.WARMING: _warming,
    RolloutState.STEPPING: _stepping,
    RolloutState.PAUSED: _paused,
    **dict.fromkeys(
        (RolloutState.FAILED, RolloutState.ROLLED_BACK, RolloutState.SUPERSEDED, RolloutState.PROMOTED), _over
    ),
}
