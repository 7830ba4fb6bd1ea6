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

import aiohttp

from functions.download import backoff
from functions.download.http import SourceHttp
from functions.download.layout import Span
from functions.download.problems import SourceChanged, SourceRefused, SourceUnwell

# Slower than this over the stall time is a stall, though bytes drip.
LOWEST_RATE: Final = 1024
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
    ever after. direct: where redirects led, so that the hub is asked once and not for every part.
    """

    url: str
    size: int
    refusal: Refusal
    etag: str = ""
    direct: str = ""


class Reads(Protocol):
    """Carries spans of one kind of source."""

    async def read(self, origin: Origin, span: Span, deadline: float, on_bytes: OnBytes, /) -> bytes | bytearray:
        """The bytes of `span`; `on_bytes` is told as they come. Raises SourceUnwell, SourceChanged, SourceRefused."""


class RangeReader:
    """Reads spans of origins over one SourceHttp. stall_s: see the setting."""

    def __init__(self, http: SourceHttp, stall_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._http = http
        self._stall_s = stall_s
        self._clock = clock

    async def read(self, origin: Origin, span: Span, deadline: float, on_bytes: OnBytes) -> bytes | bytearray:
        """The bytes of `span`; `on_bytes` is told of each chunk, for the progress.

        Tries again until `deadline` (of the clock) and goes on where a cut left off.
        Raises SourceUnwell at the deadline, SourceChanged, SourceRefused.
        """
        part = _Part(bytearray(span.size))
        failures = 0
        while part.received < span.size:
            rest = Span(span.number, span.start + part.received, span.end)
            before = part.received
            try:
                await self._pull(origin, rest, part, on_bytes)
            except SourceUnwell as error:
                failures = 1 if part.received > before else failures + 1
                await self._wait(failures, error, deadline)
        return part.data

    async def _wait(self, failures: int, error: SourceUnwell, deadline: float) -> None:
        seconds = backoff.delay(failures, random.random(), error.after_s)  # noqa: S311  # jitter, not a secret
        if self._clock() + seconds > deadline:
            raise SourceUnwell(str(error), error.after_s) from error
        await asyncio.sleep(seconds)

    async def _pull(self, origin: Origin, span: Span, part: "_Part", on_bytes: OnBytes) -> None:
        """One request: what comes is in `part` at once, so that a cut loses none of it."""
        watch = _StallWatch(self._stall_s, self._clock)
        async with self._open(origin, span) as response:
            check(response, origin, span)
            async for chunk in response.content.iter_any():
                part.take(chunk)
                on_bytes(len(chunk))
                watch.saw(len(chunk))
        if left := len(part.data) - part.received:
            raise SourceUnwell(f"the source cut the connection {left} bytes before the end of a range")

    @contextlib.asynccontextmanager
    async def _open(self, origin: Origin, span: Span) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Range": f"bytes={span.start}-{span.end - 1}"}
        if origin.etag and not origin.etag.startswith("W/"):
            headers["If-Range"] = origin.etag
        if origin.direct:
            async with self._http.get(origin.direct, headers) as response:
                if response.status not in _EXPIRED:
                    yield response
                    return
            origin.direct = ""
        async with self._http.get(origin.url, headers) as response:
            if str(response.url) != origin.url and response.status in {_WHOLE, _PARTIAL}:
                origin.direct = str(response.url)
            yield response


@dataclass(slots=True)
class _Part:
    """A span as it fills."""

    data: bytearray
    received: int = 0

    def take(self, chunk: bytes) -> None:
        """Add what came. Raises SourceChanged when there is no room for it."""
        end = self.received + len(chunk)
        if end > len(self.data):
            raise SourceChanged("the source sends more bytes than it declared")
        self.data[self.received : end] = chunk
        self.received = end


class _StallWatch:
    """Raises SourceUnwell when fewer than LOWEST_RATE bytes per second came over a whole stall time."""

    def __init__(self, stall_s: float, clock: Callable[[], float]) -> None:
        self._stall_s = stall_s
        self._clock = clock
        self._since = clock()
        self._bytes = 0

    def saw(self, count: int) -> None:
        """Count a chunk, and judge when the time is over."""
        self._bytes += count
        seconds = self._clock() - self._since
        if seconds < self._stall_s:
            return
        if self._bytes < LOWEST_RATE * seconds:
            raise SourceUnwell(f"the source stalls: {self._bytes} bytes in {seconds:.0f} s")
        self._since, self._bytes = self._clock(), 0


def check(response: aiohttp.ClientResponse, origin: Origin, span: Span) -> None:
    """Raise unless the response carries exactly `span` of the pinned version; pin the version when it is the first."""
    etag = response.headers.get("ETag", "")
    if response.status == _UNSATISFIABLE:
        raise SourceChanged("the source says that the file is shorter than it was")
    if response.status not in {_WHOLE, _PARTIAL}:
        raise origin.refusal(response.status, response.headers.get("X-Error-Code", ""))
    if origin.etag and etag and etag != origin.etag:
        raise SourceChanged("the source's version of the file (ETag) has changed")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise SourceRefused("source-encoded", "the source compresses what was asked for uncompressed")
    _check_span(response, origin, span)
    origin.etag = origin.etag or etag


def _check_span(response: aiohttp.ClientResponse, origin: Origin, span: Span) -> None:
    is_whole_file = span.size == origin.size
    if response.status == _WHOLE and not is_whole_file and origin.etag:
        # What a server answers to If-Range when the version is another one, though it may not name it.
        raise SourceChanged("the source answers a Range of the pinned version with a whole file")
    if response.status == _WHOLE and not is_whole_file:
        raise SourceRefused(
            "ranges-unsupported", "the source answers a Range with the whole file: it cannot be resumed"
        )
    expected = f"bytes {span.start}-{span.end - 1}/{origin.size}"
    if response.status == _PARTIAL and response.headers.get("Content-Range", "") != expected:
        raise SourceChanged(
            f"the source sends {response.headers.get('Content-Range', 'no Content-Range')!a}, not {expected}"
        )
    if response.content_length is not None and response.content_length != span.size:
        raise SourceChanged(f"the source sends {response.content_length} bytes where {span.size} belong")
