"""Reads the values of a GGUF file's metadata, bounded: vocabularies are walked and not kept. Pure; `gguf` uses it.

Arrays in arrays, which the format allows, are refused as llama.cpp refuses them: nobody writes any.
"""

import struct
from dataclasses import dataclass
from typing import Any, Final

from functions.download.steps import InvalidHeader, Steps

# The largest vocabularies known (260,000 tokens and 510,000 merges) make headers of about 16 MiB.
MAX_HEADER_BYTES: Final = 64 * 1024 * 1024
MAX_STRINGS: Final = 2_097_152
MAX_KEYS: Final = 1024
_MAX_KEY_BYTES: Final = 1024
# Longer strings (chat templates) and arrays (vocabularies) are checked and not kept; no model has so many layers.
_KEPT_BYTES: Final = 1024
_KEPT_NUMBERS: Final = 256
# One read from S3: most headers need one, the largest a dozen.
_WINDOW: Final = 1024 * 1024
_LENGTH_BYTES: Final = 8

_BOOL: Final = 7
_STRING: Final = 8
_ARRAY: Final = 9
# struct codes of the value types that have a fixed size.
_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", _BOOL: "B", 10: "Q", 11: "q", 12: "d"}


@dataclass(frozen=True, slots=True)
class Array:
    """An array of the metadata: its length, and its numbers where they are few."""

    count: int
    values: tuple[int | float, ...] | None = None


Value = int | float | str | bool | Array | None


class Cursor:
    """A place in the file, and the window of bytes around it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.limit = min(size, MAX_HEADER_BYTES)
        self.position = 0
        self.strings_left = MAX_STRINGS
        self.order = "<"
        self._start = 0
        self._window = b""

    def skip(self, count: int) -> None:
        """Go on by `count` bytes. Raises InvalidHeader when the header cannot reach so far."""
        self.position += count
        if self.position > self.limit:
            where = "the file" if self.limit == self.size else f"the {MAX_HEADER_BYTES} bytes that are read of a header"
            raise InvalidHeader(f"the header claims bytes up to {self.position}, past the end of {where}")

    def take(self, count: int) -> Steps[bytes]:
        """The next `count` bytes."""
        yield from self._hold(count)
        at = self.position - self._start
        self.position += count
        return self._window[at : at + count]

    def number(self, code: str) -> Steps[Any]:
        """The next number of a struct code, in the file's byte order."""
        form = self.order + code
        return struct.unpack(form, (yield from self.take(struct.calcsize(form))))[0]

    def skip_strings(self, count: int) -> Steps[None]:
        """Go past `count` strings. By hand, since a vocabulary has hundreds of thousands."""
        self.strings_left -= count
        if self.strings_left < 0:
            raise InvalidHeader(f"its arrays hold more than {MAX_STRINGS} strings")
        length_at = struct.Struct(self.order + "Q").unpack_from
        while count:
            yield from self._hold(_LENGTH_BYTES)
            window, at = self._window, self.position - self._start
            last = len(window) - _LENGTH_BYTES
            while count and at <= last:
                at += _LENGTH_BYTES + length_at(window, at)[0]
                count -= 1
            self.skip(at + self._start - self.position)

    def _hold(self, count: int) -> Steps[None]:
        """Have the next `count` bytes in the window."""
        end = self.position + count
        if end > self.limit:
            self.skip(count)
        if count and end > self._start + len(self._window):
            self._start = self.position
            self._window = yield self.position, min(self.size, max(end, self.position + _WINDOW))


def read_metadata(cursor: Cursor, count: int) -> Steps[dict[str, Value]]:
    """The `count` keys and values that come next. Raises InvalidHeader."""
    metadata: dict[str, Value] = {}
    for _ in range(count):
        key = yield from read_name(cursor, _MAX_KEY_BYTES, "key")
        if key in metadata:
            raise InvalidHeader(f"the key {key[:80]!a} is there twice")
        metadata[key] = yield from _value(cursor, (yield from cursor.number("I")))
    return metadata


def _value(cursor: Cursor, kind: int) -> Steps[Value]:
    if kind == _STRING:
        return (yield from _text(cursor))
    if kind == _ARRAY:
        return (yield from _array(cursor))
    if kind not in _SCALARS:
        raise InvalidHeader(f"a value has the unknown type {kind}")
    value: int | float = yield from cursor.number(_SCALARS[kind])
    if kind != _BOOL:
        return value
    if value not in {0, 1}:
        raise InvalidHeader(f"a truth value is {value}")
    return bool(value)


def _array(cursor: Cursor) -> Steps[Array]:
    kind = yield from cursor.number("I")
    count = yield from cursor.number("Q")
    if kind == _STRING:
        yield from cursor.skip_strings(count)
        return Array(count)
    if kind not in _SCALARS:
        raise InvalidHeader(f"an array has elements of the type {kind}, which is not read")
    return (yield from _numbers(cursor, _SCALARS[kind], count))


def _numbers(cursor: Cursor, code: str, count: int) -> Steps[Array]:
    size = struct.calcsize("=" + code)
    if count > _KEPT_NUMBERS:
        cursor.skip(count * size)
        return Array(count)
    data = yield from cursor.take(count * size)
    return Array(count, struct.unpack(f"{cursor.order}{count}{code}", data))


def _text(cursor: Cursor) -> Steps[str | None]:
    length = yield from cursor.number("Q")
    if length > _KEPT_BYTES:
        cursor.skip(length)
        return None
    return _decoded((yield from cursor.take(length)))


def read_name(cursor: Cursor, most: int, what: str) -> Steps[str]:
    """A printable name of at most `most` bytes; `what` says whose. Raises InvalidHeader."""
    length = yield from cursor.number("Q")
    if not 0 < length <= most:
        raise InvalidHeader(f"the name of a {what} claims {length} bytes; 1 to {most} are allowed")
    name = _decoded((yield from cursor.take(length)))
    if not name.isprintable():
        raise InvalidHeader(f"the name of a {what} holds a control character: {name[:80]!a}")
    return name


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidHeader(f"a text is not UTF-8: {data[:80]!a}") from error
