"""Rollouts of a server as people see them: the one that is under way, and those that have ended. Called by the routes."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from functions.kit.db import queries
from functions.status.cold_starts import ServerDetail
from functions.status.deps import Rows

SQL: Final = queries(str(Path(__file__)))
# Of one server; who looks further back has the feed and the table.
MOST: Final = 20


class RolloutView(msgspec.Struct, frozen=True):
    """One rollout. percent: the candidate's part of the traffic. step: which of `steps` it is at, from 0.

    why: what moved it last, or what it waits for. measures: what both revisions answered when the gates were last looked at.
    """

    uuid: str
    status: str
    strategy: str
    model_uuid: str
    model_name: str
    previous_model_name: str
    stable_revision: str
    candidate_revision: str | None
    step: int
    steps: Sequence[int]
    percent: int
    why: str
    measures: Any
    actor: str
    created_at: datetime
    step_started_at: datetime | None
    finished_at: datetime | None
    error: str | None


class ServerRollouts(ServerDetail, frozen=True):
    """One server with its rollout, null when none is under way, and those that have ended, the latest first."""

    rollout: RolloutView | None = None
    rollouts: Sequence[RolloutView] = ()


async def with_rollouts(db: Rows, server: ServerDetail) -> ServerRollouts:
    """The server with its rollouts."""
    views = [_view(row) for row in await db.fetch(SQL.list_rollouts, server.uuid, MOST)]
    return ServerRollouts(
        **msgspec.structs.asdict(server),
        rollout=next((view for view in views if view.finished_at is None), None),
        rollouts=[view for view in views if view.finished_at is not None],
    )


def _view(row: Mapping[str, Any]) -> RolloutView:
    return RolloutView(**{name: row[name] for name in RolloutView.__struct_fields__})
