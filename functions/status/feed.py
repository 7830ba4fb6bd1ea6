"""The news: what has happened to models, rollouts and inference, in the order of its commits. Kept for a week.

Filled by the handlers of events, read by `newsroom` for everybody who follows. A new type is one line of FOLLOWED and
its Trigger `<what>--status.yaml`.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final

import msgspec

from functions.kit.bus import Unit
from functions.kit.db import queries
from functions.kit.events import (
    CloudEvent,
    Event,
    InferenceCompleted,
    InferenceFailed,
    ModelAvailable,
    ModelDeleted,
    ModelFailed,
    ModelSelected,
    RolloutAdvanced,
    RolloutPromoted,
    RolloutRolledBack,
)
from functions.kit.identity import Identity
from functions.status.deps import Rows

SQL = queries(str(Path(__file__)))
_OWN_TYPES: Final = "dev.torpor."


class Audience(Enum):
    """Who may follow a type."""

    READERS = auto()  # everybody who may read about the model
    ASKER = auto()  # who asked for it, and operators


FOLLOWED: Final[Mapping[type[Event], Audience]] = {
    ModelAvailable: Audience.READERS,
    ModelFailed: Audience.READERS,
    ModelDeleted: Audience.READERS,
    ModelSelected: Audience.READERS,
    RolloutAdvanced: Audience.READERS,
    RolloutPromoted: Audience.READERS,
    RolloutRolledBack: Audience.READERS,
    InferenceCompleted: Audience.ASKER,
    InferenceFailed: Audience.ASKER,
}


class NewsView(msgspec.Struct, frozen=True):
    """One piece of news. type: without prefix and version, such as `model.failed`. data: as the event had it."""

    id: int
    at: datetime
    type: str
    subject: str
    model_uuid: str | None
    model_name: str | None
    data: Mapping[str, Any]


def short(kind: str) -> str:
    """`model.failed` of `dev.torpor.model.failed.v1`."""
    return kind.removeprefix(_OWN_TYPES).rpartition(".")[0]


def may_see(who: Identity, model_name: str | None, asker: str | None) -> bool:
    """Whether the caller may know: the credential covers the model, and it is theirs where it is somebody's own."""
    covered = who.allows_model(model_name) if model_name else "*" in who.models
    return covered and (asker is None or asker == who.subject or "operate" in who.actions)


async def store(unit: Unit, event: CloudEvent, kind: type[Event]) -> None:
    """Keep an event of a followed type. Raises Reject for one that is none."""
    data = msgspec.to_builtins(event.decode(kind))
    asker = event.actor if FOLLOWED[kind] is Audience.ASKER else None
    about = (data.get("model_uuid"), data.get("model_name"), data.get("server_uuid"))
    await unit.connection.execute(SQL.lock_feed)
    await unit.connection.execute(SQL.add_news, short(event.type), event.subject, *about, asker, data)


async def newest(db: Rows) -> int:
    """The id of the last piece of news; 0 when there is none."""
    row = await db.fetchrow(SQL.newest_news)
    return int(row["id"] or 0) if row is not None else 0


async def after(db: Rows, position: int, end: int | None, most: int) -> list[Any]:
    """The rows that follow `position`, up to `end` where one is given, `most` at once."""
    return await db.fetch(SQL.news_after, position, end, most)


def news_view(row: Mapping[str, Any]) -> NewsView:
    """One row of the feed."""
    return NewsView(
        row["id"], row["at"], row["type"], row["subject"], row["model_uuid"], row["model_name"], row["data"]
    )
