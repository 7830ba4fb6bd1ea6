"""Reads one span of a file from its source, byte for byte: cuts are continued, other versions are never mixed in.

Used by `transfer`, several at a time for one file. Memory: one span, and what the socket has brought of it.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from functions.download import backoff
from functions.download.connection import Room
from functions.download.http import SourceHttp
from functions.download.layout import Span
from functions.download.problems import SourceChanged, SourceRefused, SourceUnwell
from functions.download.wire import Answer

# What a range that was asked for in time may take beyond the end of its slice, whose Trigger waits a minute.
GRACE_S: Final = 30.0
_WHOLE: Final = 200
_PARTIAL: Final = 206
_UNSATISFIABLE: Final = 416
# What content hosts answer when the signature of a redirect's address has run out.
_EXPIRED: Final = frozenset({400, 401, 403, 404, 410})

OnBytes = Callable[[int], None]
Refusal = Callable[[int, str], Exception]


@dataclass(slots=True)
class Origin:
    """One file at its source, with what this slice has learnt of it.

    size: bytes. refusal: what a status and X-Error-Code of this source mean. etag: pinned by the first answer, the same
    ever after; a date where the source has no ETags. is_unproven: nobody has promised a digest, so every answer has to
    name its version. direct: where redirects led, so that the hub is asked once and not for every part.
    """

    url: str
    size: int
    refusal: Refusal
    etag: str = ""
    is_unproven: bool = False
    direct: str = ""


class Reads(Protocol):
    """Carries spans of one kind of source."""

    async def read(self, origin: Origin, span: Span, deadline: float, on_bytes: OnBytes, /) -> bytes | bytearray:
        """The bytes of `span`; `on_bytes` is told as they come. Raises SourceUnwell, SourceChanged, SourceRefused."""


class RangeReader:
    """Reads spans of origins over one SourceHttp."""

    def __init__(self, http: SourceHttp, *, grace_s: float = GRACE_S) -> None:
        self._http = http
        self._grace_s = grace_s

    async def read(self, origin: Origin, span: Span, deadline: float, on_bytes: OnBytes) -> bytes | bytearray:
        """The bytes of `span`; `on_bytes` is told of each piece, for the progress.

        Tries again until `deadline` (of time.monotonic) and goes on where a cut left off.
        Raises SourceUnwell at the deadline, and for what has not come a moment after it; SourceChanged, SourceRefused.
        """
        part = Room(bytearray(span.size), on_bytes)
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic()) + self._grace_s):
                await self._fill(part, origin, span, deadline)
        except TimeoutError as error:
            raise SourceUnwell(f"the source is slow: {part.received} of {span.size} bytes of a range came") from error
        return part.data

    async def _fill(self, part: Room, origin: Origin, span: Span, deadline: float) -> None:
        failures = 0
        while part.received < span.size:
            rest = Span(span.number, span.start + part.received, span.end)
            before = part.received
            try:
                await self._pull(origin, rest, part)
            except SourceUnwell as error:
                failures = 1 if part.received > before else failures + 1
                await self._wait(failures, error, deadline)

    async def _wait(self, failures: int, error: SourceUnwell, deadline: float) -> None:
        seconds = backoff.delay(failures, random.random(), error.after_s)  # noqa: S311  # jitter, not a secret
        if time.monotonic() + seconds > deadline:
            raise SourceUnwell(str(error), error.after_s) from error
        await asyncio.sleep(seconds)

    async def _pull(self, origin: Origin, span: Span, part: Room) -> None:
        """One request: what comes is in `part` at once, so that a cut loses none of it."""
        async with self._open(origin, span) as answer:
            check(answer, origin, span)
            await answer.read_into(part)

    @contextlib.asynccontextmanager
    async def _open(self, origin: Origin, span: Span) -> AsyncIterator[Answer]:
        headers = {"Range": f"bytes={span.start}-{span.end - 1}"}
        if origin.etag and not origin.etag.startswith("W/"):
            headers["If-Range"] = origin.etag
        if origin.direct:
            async with self._http.stream(origin.direct, headers) as answer:
                if answer.status not in _EXPIRED:
                    yield answer
                    return
            origin.direct = ""
        async with self._http.stream(origin.url, headers) as answer:
            if str(answer.url) != origin.url and answer.status in {_WHOLE, _PARTIAL}:
                origin.direct = str(answer.url)
            yield answer


def check(answer: Answer, origin: Origin, span: Span) -> None:
    """Raise unless the answer carries exactly `span` of the pinned version; pin the version when it is the first."""
    etag = answer.headers.get("ETag", "")
    if origin.etag and not origin.etag.endswith('"'):
        etag = answer.headers.get("Last-Modified", "")
    if answer.status == _UNSATISFIABLE:
        raise SourceChanged("the source says that the file is shorter than it was")
    if answer.status not in {_WHOLE, _PARTIAL}:
        raise origin.refusal(answer.status, answer.headers.get("X-Error-Code", ""))
    if origin.etag and etag != origin.etag and (etag or origin.is_unproven):
        raise SourceChanged("the source's version of the file (ETag or Last-Modified) has changed")
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise SourceRefused("source-encoded", "the source compresses what was asked for uncompressed")
    _check_span(answer, origin, span)
    origin.etag = origin.etag or etag


def _check_span(answer: Answer, origin: Origin, span: Span) -> None:
    is_whole_file = span.size == origin.size
    if answer.status == _WHOLE and not is_whole_file and origin.etag:
        # What a server answers to If-Range when the version is another one, though it may not name it.
        raise SourceChanged("the source answers a Range of the pinned version with a whole file")
    if answer.status == _WHOLE and not is_whole_file:
        raise SourceRefused(
            "ranges-unsupported", "the source answers a Range with the whole file: it cannot be resumed"
        )
    expected = f"bytes {span.start}-{span.end - 1}/{origin.size}"
    if answer.status == _PARTIAL and answer.headers.get("Content-Range", "") != expected:
        raise SourceChanged(
            f"the source sends {answer.headers.get('Content-Range', 'no Content-Range')!a}, not {expected}"
        )
    if answer.content_length is not None and answer.content_length != span.size:
        raise SourceChanged(f"the source sends {answer.content_length} bytes where {span.size} belong")
