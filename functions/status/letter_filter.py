"""Which dead letters are meant: the same filter in the query of GET /deadletters and in the body of a redrive. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from functions.kit.problem import BadRequest

# More numbers than a person picks; a body stays small.
MAX_IDS: Final = 1000
_Number = Annotated[int, Meta(ge=1, le=2**63 - 1)]
# A time without an offset would mean the server's clock.
_Instant = Annotated[datetime, Meta(tz=True)]


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out takes every letter.

    destination: whom the event could not be delivered to (knativeerrordest). code: what they answered last.
    since, until: when the letter came, RFC 3339; the second is excluded.
    redriven: true takes those that were sent again and have not come back, false the others.
    """

    ids: Annotated[list[_Number], Meta(max_length=MAX_IDS)] | None = None
    type: str | None = None
    subject: str | None = None
    destination: str | None = None
    code: Annotated[int, Meta(ge=100, le=999)] | None = None
    since: _Instant | None = None
    until: _Instant | None = None
    redriven: bool | None = None

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Filter":
        """The filter in a query string. Raises BadRequest naming what does not fit."""
        given = {name: query[name] for name in cls.__struct_fields__ if query.get(name) and name != "ids"}
        try:
            return msgspec.convert(given, cls, strict=False)
        except msgspec.ValidationError as error:
            raise BadRequest(f"the filter does not fit: {error}") from error

    @property
    def arguments(self) -> tuple[object, ...]:
        """$1 to $8 of the statements that filter."""
        return (
            self.ids,
            self.type,
            self.subject,
            self.destination,
            self.code,
            self.since,
            self.until,
            self.redriven,
        )
