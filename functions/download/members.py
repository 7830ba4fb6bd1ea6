"""Walks the members of a JSON object one by one, without building it: a foreign header of 16 MiB stays 16 MiB. Pure.

For the two shapes that weights come with: a flat object of strings, and one of flat objects. A decoder would make
millions of Python objects out of such a header before anything could be counted.
"""

import codecs
import re
from collections.abc import Iterator
from typing import Final

import msgspec

from functions.download.steps import InvalidHeader

# Possessive throughout: nothing is ever tried twice, so the time is linear in the length.
_STRING: Final = rb'"[^"\\\x00-\x1f]*+(?:\\[^\x00-\x1f][^"\\\x00-\x1f]*+)*+"'
_SPACE: Final = rb"[ \t\n\r]*+"
_FLAT: Final = rb'\{[^{}"]*+(?:' + _STRING + rb'[^{}"]*+)*+\}'
_MEMBER: Final = re.compile(
    _SPACE + b"(" + _STRING + b")" + _SPACE + b":" + _SPACE + b"(" + _STRING + b"|" + _FLAT + b")" + _SPACE + b"([,}])"
)
_EMPTY: Final = re.compile(rb"\{" + _SPACE + rb"\}")
_PADDING: Final = re.compile(rb" *+")
_UTF8_CHUNK: Final = 64 * 1024


def members(text: bytes | memoryview, most: int) -> Iterator[tuple[bytes, bytes]]:
    """Name (UTF-8, unescaped) and value (as it stands) of each member of the object that `text` is.

    Only spaces may follow it. Raises InvalidHeader for anything else, and past `most` members.
    """
    empty = _EMPTY.match(text)
    position = empty.end() if empty else 1
    if text[:1] != b"{":
        raise InvalidHeader("it does not begin with {")
    count = 0
    while not empty:
        found = _MEMBER.match(text, position)
        if found is None:
            raise InvalidHeader(f"it is not the JSON that belongs there, from byte {position} on")
        count += 1
        if count > most:
            raise InvalidHeader(f"it has more than {most} entries")
        yield _unescaped(found[1]), found[2]
        position = found.end()
        if found[3] == b"}":
            break
    if _PADDING.fullmatch(text, position) is None:
        raise InvalidHeader(f"something follows its end, at byte {position}")


def check_utf8(text: bytes) -> None:
    """Raise InvalidHeader unless `text` is UTF-8; piece by piece, since as one string it might be four times as large."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(text), _UTF8_CHUNK):
            decoder.decode(text[start : start + _UTF8_CHUNK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise InvalidHeader("it is not UTF-8") from error


def _unescaped(string: bytes) -> bytes:
    if b"\\" not in string:
        return string[1:-1]
    try:
        return msgspec.json.decode(string, type=str).encode()
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise InvalidHeader(f"one of its names cannot be read: {ascii(string)[:80]}") from error
