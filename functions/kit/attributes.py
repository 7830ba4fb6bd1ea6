"""The attributes of events: which there may be, and how HTTP headers carry them (CloudEvents 1.0 and its HTTP binding)."""

import re
import unicodedata
from typing import Final

from functions.kit.problem import Reject

# Together they are one entry of an index, which PostgreSQL limits to 2,700 bytes.
_MAX_ID_BYTES: Final = 512
# The longest that brokers add is 1,024 bytes of an answer in base64 (knativeerrordata).
_MAX_ATTRIBUTE_BYTES: Final = 1536
_NAME: Final = re.compile(r"^[a-z0-9]{1,20}$")
_PERCENT: Final = re.compile(r"%([0-9A-Fa-f]{2})")
# Control characters and halves of surrogate pairs; the last two of each plane are no characters.
_NO_TEXT: Final = frozenset({"Cc", "Cs"})
_PLANE_END: Final = 0xFFFE


def check(name: str, text: str) -> None:
    """One attribute. Raises Reject for what CloudEvents 1.0 (section 3.1) excludes, and for what could not be stored."""
    if not _NAME.fullmatch(name):
        raise Reject(f"{name[:64]!r} is not a name for an attribute: up to 20 lower-case letters and digits")
    plain = text.isascii() and text.isprintable()
    if not plain and any(
        unicodedata.category(char) in _NO_TEXT or ord(char) & _PLANE_END == _PLANE_END for char in text
    ):
        raise Reject(f"the attribute {name} has a character that no attribute may have, such as NUL or a line break")
    longest = _MAX_ID_BYTES if name in {"id", "source"} else _MAX_ATTRIBUTE_BYTES
    if len(text.encode()) > longest:
        raise Reject(f"the attribute {name} has more than {longest} bytes")


def escape(text: str) -> str:
    """Percent-encode what may not stand in a header (HTTP binding 3.1.3.2): space, quote, percent, non-printables."""
    return "".join(
        char if "!" <= char <= "~" and char not in '"%' else "".join(f"%{byte:02X}" for byte in char.encode())
        for char in text
    )


def unescape(text: str) -> str:
    """Undo percent-encoding. Raises Reject for bytes that are no UTF-8: the binding says such a header MUST be refused."""
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    raw = b"".join(
        bytes([int(part, 16)]) if position % 2 else part.encode() for position, part in enumerate(_PERCENT.split(text))
    )
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Reject(f"an attribute is not UTF-8: {error.reason}") from error
