"""Dead letters: events that no retry could deliver, kept with the reason. The Broker posts them; operators read them.

Knative adds what failed as extensions: knativeerrordest (whom), knativeerrorcode (HTTP status) and knativeerrordata
(base64 of the answer's first bytes); Eventing's RabbitMQ broker leaves the last one out. Sending them again is `redrive`.
"""

import base64
import binascii
import contextlib
import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from functions.kit.db import queries
from functions.kit.events import TICK, CloudEvent
from functions.kit.problem import NotFound
from functions.status import paging
from functions.status.deps import Rows
from functions.status.letter_filter import Filter
from functions.status.paging import Page

SQL: Final = queries(str(Path(__file__)))
_LOG = logging.getLogger("torpor.status")

_ERROR_EXTENSIONS: Final = frozenset({"knativeerrordest", "knativeerrorcode", "knativeerrordata"})
# A column of type BIGINT; no letter has a larger number.
_MAX_ID: Final = 2**63 - 1


class DeadLetterNotFound(NotFound):
    """Dead letter not found"""


class DeadLetterView(msgspec.Struct, frozen=True):
    """One dead letter. The event's data is null in lists; else it is text, or base64 where it is none.

    redriven_at: when it was last sent again; null again once it has come back. redrives counts both.
    """

    id: int
    source: str
    event_id: str
    type: str
    subject: str | None
    extensions: Mapping[str, str]
    content_type: str
    error_dest: str
    error_code: int | None
    error_data: str | None
    received_at: datetime
    redriven_at: datetime | None
    redriven_by: str | None
    redrives: int
    data: str | None = None
    data_base64: str | None = None


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
    """Keep the event as it came; the same one from the same destination again brings the newer reason.

    It may then be redriven (again): that it is here says that it is no longer under way. A tick that nobody took is
    not kept: the next minute has brought another one.
    """
    if event.type == TICK:
        _LOG.warning("nobody took a tick", extra={"dest": event.extensions.get("knativeerrordest", "")})
        return
    attributes = {**event.extensions, **event.passing}
    content_type = attributes.pop("datacontenttype", "")
    kept = {name: text for name, text in attributes.items() if name not in _ERROR_EXTENSIONS}
    await db.execute(
        SQL.add_dead_letter,
        event.source,
        event.id,
        event.type,
        event.subject,
        kept,
        content_type,
        event.data,
        event.extensions.get("knativeerrordest", ""),
        error_code(event.extensions),
        error_data(event.extensions),
    )


def dead_letter_view(row: Mapping[str, Any]) -> DeadLetterView:
    """One row of dead_letters, with its data when that was selected."""
    return msgspec.convert({**row, "data": None, **_shown(row.get("data"))}, DeadLetterView)


def _shown(data: bytes | None) -> Mapping[str, str]:
    if data is None:
        return {}
    try:
        return {"data": data.decode()}
    except UnicodeDecodeError:
        return {"data_base64": base64.b64encode(data).decode()}


async def list_dead_letters(db: Rows, query: Mapping[str, str]) -> Page[DeadLetterView]:
    """A page of the dead letters that the query's filter takes, newest first."""
    size = paging.limit(query)
    key = paging.decode(query, tuple[datetime, int]) or (None, None)
    rows = await db.fetch(SQL.list_dead_letters, *Filter.of(query).arguments, *key, size + 1)
    page = paging.cut(rows, size, lambda row: (row["received_at"], row["id"]))
    return Page([dead_letter_view(row) for row in page.items], page.next_cursor)


async def find_dead_letter(db: Rows, number: int) -> DeadLetterView:
    """One dead letter with its data. Raises DeadLetterNotFound."""
    row = await db.fetchrow(SQL.find_dead_letter, number) if number <= _MAX_ID else None
    if row is None:
        raise DeadLetterNotFound(f"there is no dead letter {number}; GET /deadletters lists them")
    return dead_letter_view(row)
