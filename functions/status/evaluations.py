"""Evaluations as people see them: which models were asked the same prompts, who won, and why. Called by the routes."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from functions.kit.db import queries
from functions.kit.problem import NotFound
from functions.status import paging
from functions.status.deps import Rows
from functions.status.paging import Page

SQL: Final = queries(str(Path(__file__)))


class EvaluationNotFound(NotFound):
    """Evaluation not found"""


class CandidateView(msgspec.Struct, frozen=True):
    """One candidate. why: the reason that it has no score. latency_ms: the middle one of its answers.

    results: for each prompt that it was asked whether it passed, the reason if not, the beginning of the answer.
    """

    candidate: str
    model_uuid: str | None
    model_name: str | None
    status: str
    why: str
    server: str | None
    score: float | None
    latency_ms: int | None
    results: Any


class EvaluationView(msgspec.Struct, frozen=True):
    """One evaluation. why: what moved it last, or what it waits for. candidates is null in lists."""

    id: str
    alias: str
    status: str
    why: str
    prompts: int
    min_score: float
    actor: str
    winner: str | None
    winner_score: float | None
    deadline_at: datetime
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    candidates: Sequence[CandidateView] | None = None


async def list_evaluations(db: Rows, query: Mapping[str, str]) -> Page[EvaluationView]:
    """A page of them, newest first."""
    size = paging.limit(query)
    created, uuid = paging.decode(query, tuple[datetime, str]) or (None, None)
    rows = await db.fetch(SQL.list_evaluations, created, uuid, size + 1)
    page = paging.cut(rows, size, lambda row: (row["created_at"], row["uuid"]))
    return Page([evaluation_view(row) for row in page.items], page.next_cursor)


async def find_evaluation(db: Rows, uuid: str) -> EvaluationView:
    """One with its candidates. Raises EvaluationNotFound."""
    row = await db.fetchrow(SQL.find_evaluation, uuid)
    if row is None:
        raise EvaluationNotFound(f"there is no evaluation {uuid[:64]!r}; GET /evaluations lists those that are here")
    candidates = [candidate_view(each) for each in await db.fetch(SQL.list_candidates, uuid)]
    return msgspec.structs.replace(evaluation_view(row), candidates=candidates)


def evaluation_view(row: Mapping[str, Any]) -> EvaluationView:
    """One row of list_evaluations."""
    return EvaluationView(
        id=row["uuid"],
        alias=row["alias"],
        status=row["status"],
        why=row["why"],
        prompts=row["prompts"],
        min_score=row["min_score"],
        actor=row["actor"],
        winner=row["winner_name"],
        winner_score=row["winner_score"],
        deadline_at=row["deadline_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        finished_at=row["finished_at"],
    )


def candidate_view(row: Mapping[str, Any]) -> CandidateView:
    """One row of evaluation_candidates."""
    return CandidateView(
        row["asked_as"],
        row["model_uuid"],
        row["model_name"],
        row["status"],
        row["why"],
        row["server_name"],
        row["score"],
        row["latency_ms"],
        row["results"],
    )
