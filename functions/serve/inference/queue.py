"""The queue: rows of `inference_requests` as values, and the transactions that move them.

Called by the endpoints, the worker and the tick, inside their transactions. Whoever gives or frees a place holds the
queue's lock, which lasts until the commit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from functions.kit.bus import Unit
from functions.kit.db import queries
from functions.kit.events import InferenceCompleted, InferenceFailed, InferenceRequested, WebhookRequested
from functions.serve.inference.states import INFERENCE, InferenceCause, InferenceState

SQL: Final = queries(str(Path(__file__)))
# Longer than a function takes to start and the Broker to bring it an event; then somebody else may have the place.
TOLD_S: Final = 30.0
# Twice the longest back-off: a time further ahead is from before a clock was set back.
_SET_BACK: Final = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Places:
    """How many calls may be under way: in all, and of one server (0: what its plan says)."""

    of_all: int
    of_server: int

    def free(self, taken: Mapping[str, Any], server: Mapping[str, Any]) -> bool:
        """Whether one more may begin. taken: a row of `places_taken`; server: one of `server_of`."""
        of_server, of_all = int(taken["of_server"]), int(taken["of_all"])
        return of_server < self.of(server) and of_all < self.of_all

    def of(self, server: Mapping[str, Any]) -> int:
        """The places of a server: the statement `tell_next` counts likewise."""
        scale: Mapping[str, Any] = (server["runtime_params"] or {}).get("scale") or {}
        return self.of_server or max(1, (scale.get("max") or 1) * (scale.get("target") or 1))


@dataclass(frozen=True, slots=True)
class End:
    """How a request ends. result_bytes: of the stored answer."""

    cause: InferenceCause
    error: str | None = None
    http_status: int | None = None
    result_bytes: int | None = None


async def tell(unit: Unit, places: Places) -> None:
    """Emit the event of everybody who can run now. Takes the queue's lock."""
    await unit.connection.execute(SQL.lock_queue)
    for row in await unit.connection.fetch(SQL.tell_next, places.of_all, places.of_server, TOLD_S):
        unit.emit(InferenceRequested(row["uuid"]), actor=row["subject"])


async def end(unit: Unit, row: Mapping[str, Any], how: End) -> Mapping[str, Any]:
    """Move a request, which is locked, to its end and emit what follows. The caller has looked that the table allows it."""
    state = INFERENCE.target(how.cause)
    ended: Mapping[str, Any] = await unit.connection.fetchrow(
        SQL.end_request, row["uuid"], state, how.http_status, how.error, how.result_bytes
    )
    uuid, server = row["uuid"], row["server_uuid"]
    if state is InferenceState.COMPLETED:
        unit.emit(InferenceCompleted(uuid, server), actor=row["subject"])
    else:
        unit.emit(InferenceFailed(uuid, server, state, how.error or ""), actor=row["subject"])
    if row["callback_url"] is not None:
        unit.emit(WebhookRequested(uuid), actor=row["subject"])
    return ended


def allows(row: Mapping[str, Any], cause: InferenceCause) -> bool:
    """Whether the table has an edge for it."""
    return INFERENCE.after(InferenceState(row["status"]), cause) is not None


def is_held(row: Mapping[str, Any]) -> bool:
    """Whether somebody asks the model for it right now. row: of `lock_request`."""
    until: datetime | None = row["lease_until"]
    return row["status"] == InferenceState.RUNNING and until is not None and until > row["read_at"]


def is_due(row: Mapping[str, Any]) -> bool:
    """Whether its back-off is over, as `tell_next` judges it. row: of `lock_request`."""
    ahead: timedelta = row["due_at"] - row["read_at"]
    return ahead <= timedelta() or ahead > _SET_BACK


def request_key(uuid: str) -> str:
    """Where the request's body is in S3."""
    return f"inference/{uuid}/request.json"


def result_key(uuid: str) -> str:
    """Where the answer's body is in S3."""
    return f"inference/{uuid}/result.json"
