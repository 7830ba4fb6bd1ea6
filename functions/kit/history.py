"""Writes down what changed nothing: an event that came too late, or asked for what a record's table does not allow.

One row of event_log by the transaction that acknowledges the event, so each is told once. Called by the handlers of
events; what a person asks in vain is answered with 409 instead. The tick of `status` deletes rows after 30 days.
"""

import logging
from dataclasses import dataclass
from typing import Any, Final

from functions.kit.bus import SQL, Unit
from functions.kit.events import CloudEvent
from functions.kit.states import Machine

# A sentence for people who look; reasons of sources can be pages.
MAX_DETAIL: Final = 1000
_LOG = logging.getLogger("torpor.history")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What changed nothing: the record, the state that it stays in, what would have moved it, a sentence for people."""

    uuid: str
    state: str
    cause: str
    detail: str = ""


async def refused(unit: Unit, machine: Machine[Any, Any], attempt: Attempt) -> None:
    """The table has no such edge. Late when the record has ended or is there already, otherwise illegal."""
    kind = "late" if machine.is_late(attempt.state, attempt.cause) else "illegal"
    await _record(unit, kind, machine.kind, attempt, unit.cause)


async def late(unit: Unit, record_kind: str, attempt: Attempt, event: CloudEvent | None = None) -> None:
    """Old news: the table might allow it, and something newer is known.

    record_kind: a Machine's kind. event: the one that brought it, where the unit does not mark it as handled.
    """
    await _record(unit, "late", record_kind, attempt, event or unit.cause)


async def _record(unit: Unit, kind: str, record_kind: str, attempt: Attempt, event: CloudEvent | None) -> None:
    about = (record_kind, attempt.uuid, attempt.state, attempt.cause)
    origin = (event.source, event.id) if event else (None, None)
    await unit.connection.execute(SQL.add_history, kind, *about, *origin, attempt.detail[:MAX_DETAIL])
    _LOG.info("%s, nothing changes: the %s %s is %s, this was %s. %s", kind, *about, attempt.detail)
