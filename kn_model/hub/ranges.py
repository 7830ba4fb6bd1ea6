"""Byte ranges of RFC 9110, section 14, decided without I/O: which bytes a request gets, with which status.

One range only, as the content hosts behind the real hub do; a request for several gets the whole file.
"""

import re
from dataclasses import dataclass
from typing import Final

_RANGE: Final = re.compile(r"^bytes=(\d{0,19})-(\d{0,19})$")


@dataclass(frozen=True, slots=True)
class Answer:
    """status: 200, 206 or 416; the bytes are [start, end) of a file of `size`."""

    status: int
    start: int
    end: int
    size: int

    @property
    def headers(self) -> dict[str, str]:
        """Content-Range where the status asks for one."""
        if self.status == 206:  # noqa: PLR2004  # Partial Content
            return {"Content-Range": f"bytes {self.start}-{self.end - 1}/{self.size}"}
        return {"Content-Range": f"bytes */{self.size}"} if self.status == 416 else {}  # noqa: PLR2004


def answer(size: int, etag: str, header: str | None, if_range: str | None) -> Answer:
    """Decide what `Range: header` gets from a file of `size` bytes.

    A range of another form, or one whose If-Range names another version, is ignored: the whole file follows.
    """
    whole = Answer(200, 0, size, size)
    match = _RANGE.match(header or "")
    if not match or match.groups() == ("", "") or (if_range is not None and if_range != f'"{etag}"'):
        return whole
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if first and last and int(last) < start:
        return whole
    return Answer(206, start, end, size) if start < end else Answer(416, 0, 0, size)
