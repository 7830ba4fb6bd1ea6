"""Rows of `rollouts` as values, and the one function that moves them.

A move, what it means for the server, and the events that follow are one transaction. Called by the desk, the endpoints and the driver. What serves stands in server_records, what is on trial here: a promotion
writes it over, a rollback only takes the traffic back.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from functions.kit import history
from functions.kit.bus import Unit
from functions.kit.events import RolloutAdvanced, RolloutPromoted, RolloutRolledBack, ServerRequested
from functions.kit.history import Attempt
from functions.serve.records import SQL, Draft, Record
from functions.serve.requests import RolloutOptions, ServeOptions
from functions.serve.rollout.gates import Measures
from functions.serve.rollout.states import ROLLOUT, RolloutCause, RolloutState
from functions.serve.rollout.traffic import WHOLE, Split

# A reason can be a page of a source's log; people need a sentence or two.
MAX_WHY: Final = 1000


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout as far as decisions need it. since: when it came into this state or step."""

    uuid: str
    server_uuid: str
    state: RolloutState
    options: RolloutOptions
    model_uuid: str
    model_name: str
    request: ServeOptions
    stable_revision: str
    step: int
    percent: int
    since: datetime
    row: Mapping[str, Any]

    @property
    def under_way(self) -> bool:
        """It has not ended."""
        return self.state not in ROLLOUT.ends

    @property
    def replaces(self) -> bool:
        """The old one ends before the new one starts."""
        return self.options.strategy == "replace"

    @property
    def at_last_step(self) -> bool:
        """What follows is the end."""
        return self.step + 1 >= len(self.options.steps)

    @property
    def split(self) -> Split:
        """The traffic while it is under way."""
        return Split(self.stable_revision, self.percent, tagged=True, freed=self.replaces)


@dataclass(frozen=True, slots=True)
class Move:
    """What moves a rollout, why, and what was seen meanwhile."""

    cause: RolloutCause
    why: str
    candidate: str = ""
    measures: Measures | None = None


def rollout_of(row: Mapping[str, Any]) -> Rollout:
    """Read a row."""
    return Rollout(
        uuid=row["uuid"],
        server_uuid=row["server_uuid"],
        state=RolloutState(row["status"]),
        options=msgspec.convert(row["options"], RolloutOptions),
        model_uuid=row["model_uuid"],
        model_name=row["model_name"],
        request=msgspec.convert(row["request"], ServeOptions),
        stable_revision=row["stable_revision"],
        step=row["step"],
        percent=row["percent"],
        since=row["step_started_at"] or row["created_at"],
        row=row,
    )


async def under_way(connection: Any, server_uuid: str) -> Rollout | None:
    """The rollout of a server that has not ended, locked until the transaction ends."""
    row = await connection.fetchrow(SQL.lock_rollout_under_way, server_uuid)
    return rollout_of(row) if row else None


async def last(connection: Any, server_uuid: str) -> Rollout | None:
    """The newest rollout of a server, ended or not."""
    row = await connection.fetchrow(SQL.find_last_rollout, server_uuid)
    return rollout_of(row) if row else None


async def start(unit: Unit, record: Record, draft: Draft, options: RolloutOptions, stable: str) -> Rollout:
    """Put something on trial beside what serves. stable: the revision that serves."""
    row = await unit.connection.fetchrow(
        SQL.add_rollout,
        str(uuid.uuid4()),
        record.uuid,
        record.name,
        record.row["namespace"],
        options.strategy,
        msgspec.to_builtins(options),
        draft.model.uuid,
        draft.model.name,
        draft.options.as_json(),
        draft.runtime_params,
        draft.memory_max_mb,
        draft.contract,
        record.model_uuid,
        record.model_name,
        stable,
        draft.actor,
    )
    unit.emit(ServerRequested(record.uuid))
    return rollout_of(row)


async def move(unit: Unit, rollout: Rollout, what: Move, now: datetime) -> Rollout | None:
    """Move a locked rollout, with all that follows from it; None, and a line in the history, where the table has no edge."""
    state = ROLLOUT.after(rollout.state, what.cause)
    if state is None:
        await history.refused(unit, ROLLOUT, Attempt(rollout.uuid, rollout.state, what.cause, what.why))
        return None
    step, percent = _place(rollout, state, what.cause)
    row = await unit.connection.fetchrow(
        SQL.move_rollout,
        rollout.uuid,
        state,
        what.cause,
        what.why[:MAX_WHY],
        step,
        percent,
        now,
        state in ROLLOUT.ends,
        state in {RolloutState.FAILED, RolloutState.ROLLED_BACK},
        what.candidate,
        msgspec.to_builtins(what.measures) if what.measures else None,
    )
    moved = rollout_of(row)
    await _follow(unit, rollout, moved, what)
    return moved


def _place(rollout: Rollout, state: RolloutState, cause: RolloutCause) -> tuple[int, int]:
    """Step and percent after a move."""
    if state is RolloutState.PROMOTED:
        return rollout.step, WHOLE
    if state in ROLLOUT.ends:
        return rollout.step, 0
    if state is RolloutState.WARMING:
        # Where there is room for one only, the old one has to lose its calls before it ends.
        return 0, WHOLE if rollout.replaces else 0
    step = rollout.step + 1 if cause is RolloutCause.ADVANCED else rollout.step
    return step, rollout.options.steps[min(step, len(rollout.options.steps) - 1)]


async def _follow(unit: Unit, before: Rollout, moved: Rollout, what: Move) -> None:
    if moved.state is RolloutState.PROMOTED:
        await unit.connection.execute(SQL.promote_server, moved.uuid)
        unit.emit(RolloutPromoted(moved.uuid, moved.server_uuid))
    elif not moved.under_way:
        await unit.connection.execute(SQL.pin_server, moved.server_uuid, moved.stable_revision)
        unit.emit(RolloutRolledBack(moved.uuid, moved.server_uuid, what.why[:MAX_WHY]))
    elif moved.percent != before.percent:
        unit.emit(RolloutAdvanced(moved.uuid, moved.server_uuid, moved.percent))
    unit.emit(ServerRequested(moved.server_uuid))


async def note(connection: Any, rollout: Rollout, why: str, candidate: str, measures: Measures | None) -> None:
    """It waits: for what, and what was measured."""
    seen = msgspec.to_builtins(measures) if measures else None
    await connection.execute(SQL.note_rollout, rollout.uuid, why[:MAX_WHY], candidate, seen)


def view(rollout: Rollout) -> dict[str, Any]:
    """As the API answers it."""
    row = rollout.row
    names = ("uuid", "status", "strategy", "model_uuid", "model_name", "previous_model_name", "stable_revision")
    more = ("candidate_revision", "step", "percent", "why", "measures", "created_at", "updated_at", "finished_at")
    return {name: row[name] for name in (*names, *more)}
