"""Rows of `evaluations` and `evaluation_candidates` as values, and the moves along their tables of states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from functions.kit import history
from functions.kit.bus import Unit
from functions.kit.db import queries
from functions.kit.history import Attempt
from functions.serve.evaluation.scoring import Result, Standing
from functions.serve.evaluation.states import (
    CANDIDATE,
    EVALUATION,
    CandidateCause,
    CandidateState,
    EvaluationCause,
    EvaluationState,
)
from functions.serve.requests import RolloutOptions, ServeOptions

SQL: Final = queries(str(Path(__file__)))
# From the request for a temporary server to its last answer: large weights take minutes, 200 prompts of a slow model too.
CANDIDATE_S: Final = 3600.0
# Kept of a reason; sources and engines can write pages.
_SHOWN: Final = 500


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model that was named. late: it was given an hour and has had it."""

    position: int
    number: int
    asked_as: str
    model_uuid: str
    model_name: str
    state: CandidateState
    why: str
    server_uuid: str
    server_name: str
    results: Sequence[Result]
    standing: Standing
    late: bool


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation with its candidates."""

    uuid: str
    number: int
    alias: str
    state: EvaluationState
    prompts: int
    min_score: float
    options: ServeOptions | None
    rollout: RolloutOptions
    models: Sequence[str]
    actor: str
    overdue: bool
    winner: int | None
    candidates: Sequence[Candidate]

    @property
    def under_way(self) -> bool:
        """Whether anything can still happen."""
        return self.state not in EVALUATION.ends

    @property
    def turn(self) -> Candidate | None:
        """The candidate that is served and asked now: one at a time, since there may be one GPU."""
        return next((each for each in self.candidates if each.state not in CANDIDATE.ends), None)

    def covers(self, model_name: str) -> bool:
        """Whether the credential that asked may use this model."""
        return "*" in self.models or model_name in self.models


async def read(db: Any, uuid: str) -> Evaluation | None:
    """One with its candidates. db: a database or a connection."""
    row = await db.fetchrow(SQL.read_evaluation, uuid)
    return None if row is None else _evaluation(row, await db.fetch(SQL.list_candidates, uuid, CANDIDATE_S))


async def unchanged(unit: Unit, seen: Evaluation) -> bool:
    """Lock it; whether it and its candidates still stand where they were seen. Whoever moved them goes on with them."""
    if await unit.connection.fetchrow(SQL.lock_evaluation, seen.uuid) is None:
        return False
    current = await read(unit.connection, seen.uuid)
    return current is not None and _places(current) == _places(seen)


async def move(unit: Unit, seen: Evaluation, cause: EvaluationCause, why: str, winner: int | None = None) -> None:
    """Along the table; what it does not allow goes into the history alone."""
    state = EVALUATION.after(seen.state, cause)
    if state is None:
        await history.refused(unit, EVALUATION, Attempt(seen.uuid, seen.state, cause, why))
        return
    await unit.connection.execute(SQL.move_evaluation, seen.uuid, state, why[:_SHOWN], winner, state in EVALUATION.ends)


async def drop(unit: Unit, seen: Evaluation, candidate: Candidate, why: str, *, cancelled: bool = False) -> None:
    """A candidate has no score, and this is why."""
    cause = CandidateCause.CANCELLED if cancelled else CandidateCause.FAILED
    state = CANDIDATE.after(candidate.state, cause)
    if state is not None:
        await unit.connection.execute(SQL.move_candidate, seen.uuid, candidate.position, state, why[:_SHOWN])


def _places(seen: Evaluation) -> list[tuple[str, int]]:
    return [(seen.state, 0), *((each.state, len(each.results)) for each in seen.candidates)]


def _evaluation(row: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]]) -> Evaluation:
    return Evaluation(
        uuid=row["uuid"],
        number=row["number"],
        alias=row["alias"],
        state=EvaluationState(row["status"]),
        prompts=row["prompts"],
        min_score=row["min_score"],
        options=None if row["options"] is None else msgspec.convert(row["options"], ServeOptions),
        rollout=msgspec.convert(row["rollout"], RolloutOptions),
        models=row["models"],
        actor=row["actor"],
        overdue=row["overdue"],
        winner=row["winner"],
        candidates=[_candidate(each) for each in candidates],
    )


def _candidate(row: Mapping[str, Any]) -> Candidate:
    return Candidate(
        position=row["position"],
        number=row["number"],
        asked_as=row["asked_as"],
        model_uuid=row["model_uuid"] or "",
        model_name=row["model_name"] or "",
        state=CandidateState(row["status"]),
        why=row["why"],
        server_uuid=row["server_uuid"] or "",
        server_name=row["server_name"] or "",
        results=msgspec.convert(row["results"], list[Result]),
        standing=Standing(row["position"], row["score"], row["latency_ms"]),
        late=bool(row["late"]),
    )
