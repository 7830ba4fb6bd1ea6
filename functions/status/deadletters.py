"""Dead letters: events that no retry could deliver, kept with the reason. The Broker posts them; operators read them.

Knative adds what failed as extensions: knativeerrordest (whom), knativeerrorcode (HTTP status) and knativeerrordata
(base64 of the answer's first bytes); Eventing's RabbitMQ broker leaves the last one out.
"""

import base64
import binascii
import contextlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from functions.kit.db import queries
from functions.kit.events import CloudEvent
from functions.status import paging
from functions.status.deps import Rows
from functions.status.paging import Page

SQL = queries(str(Path(__file__)))

_ERROR_EXTENSIONS: Final = frozenset({"knativeerrordest", "knativeerrorcode", "knativeerrordata"})


class DeadLetterView(msgspec.Struct, frozen=True):
    """One dead letter; `data` is the event's data as text, with anything that is not UTF-8 replaced."""

    id: int
    source: str
    event_id: str
    type: str
    subject: str | None
    extensions: Mapping[str, str]
    data: str
    error_dest: str
    error_code: int | None
    error_data: str | None
    received_at: datetime


def error_code(extensions: Mapping[str, str]) -> int | None:
    """The HTTP status that the last try was answered with, None where there was no answer."""
    text = extensions.get("knativeerrorcode", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= len("999") else None


def error_data(extensions: Mapping[str, str]) -> str | None:
    """The beginning of that answer as text; what is not base64 is shown as it came. PostgreSQL's text holds no NUL."""
    text = extensions.get("knativeerrordata")
    if text is None:
        return None
    with contextlib.suppress(binascii.Error, ValueError):
        text = base64.b64decode(text, validate=True).decode(errors="replace")
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


async def store(db: Rows, event: CloudEvent) -> None:
    """Keep the event; the same one from the same destination again only brings the newer reason."""
    others = {name: text for name, text in event.extensions.items() if name not in _ERROR_EXTENSIONS}
    await db.execute(
        SQL.add_dead_letter,
        event.source,
        event.id,
        event.type,
        event.subject,
        others,
        event.data,
        event.extensions.get("knativeerrordest", ""),
        error_code(event.extensions),
        error_data(event.extensions),
    )


def dead_letter_view(row: Mapping[str, Any]) -> DeadLetterView:
    """One row of dead_letters."""
    return DeadLetterView(
        row["id"],
        row["source"],
        row["event_id"],
        row["type"],
        row["subject"],
        row["extensions"],
        row["data"].decode(errors="replace"),
        row["error_dest"],
        row["error_code"],
        row["error_data"],
        row["received_at"],
    )


async def list_dead_letters(db: Rows, query: Mapping[str, str]) -> Page[DeadLetterView]:
    """A page of dead letters, newest first."""
    size = paging.limit(query)
    (before,) = paging.decode(query, tuple[int]) or (None,)
    rows = await db.fetch(SQL.list_dead_letters, before, size + 1)
    page = paging.cut(rows, size, lambda row: (row["id"],))
    return Page([dead_letter_view(row) for row in page.items], page.next_cursor)
