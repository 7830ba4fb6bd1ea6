"""Keyset pagination: how many rows, and the opaque cursor that names the last row of the page before. Pure.

A cursor is base64url of the JSON array of that row's sort key. It holds nothing secret and is not signed: every query
applies the caller's rights by itself, so a forged cursor only moves the start.
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import msgspec

from functions.kit.problem import BadRequest

K = TypeVar("K")
V = TypeVar("V")

# A screenful; a page of 200 rows stays well under 1 MB.
DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
# No sort key of ours comes near; a longer one is not from us.
MAX_CURSOR: Final = 1024


@dataclass(frozen=True, slots=True)
class Page(Generic[V]):
    """One page: the items, and the cursor of the next page or None at the end."""

    items: Sequence[V]
    next_cursor: str | None


def limit(query: Mapping[str, str]) -> int:
    """The `limit` of a query string. Raises BadRequest outside 1..MAX_LIMIT."""
    text = query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_LIMIT):
        raise BadRequest(f"limit is a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def encode(key: Sequence[object]) -> str:
    """The cursor after the row with this sort key."""
    return base64.urlsafe_b64encode(msgspec.json.encode(list(key))).rstrip(b"=").decode()


def decode(query: Mapping[str, str], kind: type[K]) -> K | None:
    """The sort key in the query string's `cursor`, None without one. Raises BadRequest for what we did not make."""
    text = query.get("cursor", "")
    if not text:
        return None
    try:
        if len(text) > MAX_CURSOR:
            raise BadRequest("the cursor is too long; use next_cursor of the page before as it is")
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        return msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=kind)
    except (msgspec.MsgspecError, UnicodeError, binascii.Error) as error:
        raise BadRequest("the cursor is not valid; use next_cursor of the page before as it is") from error


def cut(rows: Sequence[V], size: int, key: Callable[[V], Sequence[object]]) -> Page[V]:
    """The page of at most `size` rows out of `size + 1` that were asked for: the extra row says whether more follow."""
    shown = rows[:size]
    return Page(shown, encode(key(shown[-1])) if len(rows) > size else None)
