"""One HTTP/1.1 connection whose bodies go straight into the memory they belong in.

h11 reads the head. What has a Content-Length the kernel, or TLS, then writes where it stays; everything else h11 unwraps.
`wire` keeps connections and judges how long they may take.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast

import h11
from yarl import URL

from functions.download.problems import SourceChanged, SourceRefused, SourceUnwell

# What a head may have; servers stop at less.
HEAD_BYTES: Final = 64 * 1024
_SCRATCH: Final = 64 * 1024


def _unheard(_: int) -> None:
    """Nobody wants to know how many bytes came."""


@dataclass(slots=True)
class Room:
    """Memory that a body fills, or several one after the other. received: bytes so far; on_bytes: told of each piece."""

    data: bytearray
    on_bytes: Callable[[int], None] = _unheard
    received: int = 0

    def left(self) -> memoryview:
        """What is still to come goes here."""
        return memoryview(self.data)[self.received :]

    def took(self, count: int) -> None:
        """So many bytes of it have come."""
        self.received += count
        self.on_bytes(count)


@dataclass(slots=True)
class _Body:
    """A body that comes. straight: without h11, since all that comes is its bytes, as many as there is room for."""

    room: Room
    is_straight: bool
    arrived: asyncio.Future[None]

    def fail(self, error: Exception) -> None:
        """It will not be complete."""
        if not self.arrived.done():
            self.arrived.set_exception(error)


class Connection(asyncio.BufferedProtocol):
    """One connection: a request, the head of its answer, the body, and again. idle_since: of time.monotonic."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        # Whether another request may follow: the answer has ended, and neither it nor what came after it speaks against.
        self.is_reusable = False
        self._scratch = memoryview(bytearray(_SCRATCH))
        self._parser = _parser()
        self._closes = False
        # What is waited for: a head, then a body.
        self._head: asyncio.Future[h11.Response] | None = None
        self._body: _Body | None = None
        self._transport: asyncio.Transport | None = None

    async def ask(self, url: URL, headers: Mapping[str, str], within_s: float) -> h11.Response:
        """Send a GET and wait for the head of its answer. Raises ConnectionError, TimeoutError, SourceUnwell, SourceRefused."""
        if self._transport is None:
            raise ConnectionResetError("the server closed the connection")
        self.is_reusable, self._parser = False, _parser()
        self._head = asyncio.get_running_loop().create_future()
        try:
            self._transport.write(_request(self._parser, url, headers))
            async with asyncio.timeout(within_s):
                return await self._head
        except BaseException:
            self.close()
            raise
        finally:
            self._head = None

    def read_into(self, room: Room, *, straight: bool) -> asyncio.Future[None]:
        """Begin to read the body; the future ends with it. straight: it has exactly the length of `room`."""
        arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        body = self._body = _Body(room, straight, arrived)
        if straight:
            early, _ = self._parser.trailing_data
            into = room.left()
            into[: len(early)] = early[: len(into)]
            # What is more than was announced belongs to nothing that we asked for.
            self._closes = self._closes or len(early) > len(into)
            self._took(body, min(len(early), len(into)))
        else:
            self._unwrap(body)
        if self._transport is None:
            self._cut()
        else:
            self._transport.resume_reading()
        return arrived

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.BaseProtocol."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio.BufferedProtocol."""
        del sizehint
        body = self._body
        return body.room.left() if body is not None and body.is_straight else self._scratch

    def buffer_updated(self, count: int) -> None:
        """See asyncio.BufferedProtocol."""
        if self._body is not None and self._body.is_straight:
            self._took(self._body, count)
        else:
            self._feed(bytes(self._scratch[:count]))

    def eof_received(self) -> None:
        """See asyncio.BaseProtocol: the end of a body that has no other, or a cut, which `connection_lost` tells."""
        if self._body is not None and not self._body.is_straight:
            self._feed(b"")

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.BaseProtocol."""
        self._transport, self.is_reusable = None, False
        if self._head is not None and not self._head.done():
            self._head.set_exception(error or ConnectionResetError("the server closed the connection"))
        self._cut()

    def _feed(self, data: bytes) -> None:
        if self._body is not None:
            self._parser.receive_data(data)
            self._unwrap(self._body)
        elif self._head is not None and not self._head.done():
            self._parser.receive_data(data)
            self._look_for(self._head)
        else:
            # Nobody has asked for it.
            self.close()

    def _look_for(self, head: asyncio.Future[h11.Response]) -> None:
        try:
            event = self._parser.next_event()
            while isinstance(event, h11.InformationalResponse):
                event = self._parser.next_event()
        except h11.RemoteProtocolError as error:
            head.set_exception(SourceUnwell(f"what the source answers is not HTTP: {error}"))
            return
        if isinstance(event, h11.Response):
            connection = dict(event.headers).get(b"connection", b"")
            self._closes = event.http_version < b"1.1" or b"close" in connection.lower()
            head.set_result(event)
            if self._transport is not None:
                # Whoever asked looks at the head before the body has a place.
                self._transport.pause_reading()

    def _took(self, body: _Body, count: int) -> None:
        body.room.took(count)
        if not body.room.left():
            self._end(body)

    def _unwrap(self, body: _Body) -> None:
        """A body in chunks, one that ends with the connection, or one of another length than is wanted: as h11 reads it."""
        try:
            while isinstance(event := self._parser.next_event(), h11.Data):
                into = body.room.left()
                if len(event.data) > len(into):
                    body.fail(SourceChanged("the source sends more bytes than it declared"))
                    return
                into[: len(event.data)] = event.data
                body.room.took(len(event.data))
        except h11.RemoteProtocolError:
            self._cut()
            return
        if isinstance(event, h11.EndOfMessage):
            self._cut() if body.room.left() else self._end(body)

    def _end(self, body: _Body) -> None:
        self._body = None
        self.is_reusable = not self._closes and self._transport is not None
        if not body.arrived.done():
            body.arrived.set_result(None)

    def _cut(self) -> None:
        """No more comes of a body that is not complete."""
        body, self._body = self._body, None
        if body is not None:
            left = len(body.room.left())
            body.fail(SourceUnwell(f"the source cut the connection {left} bytes before the end of a range"))


def _request(parser: h11.Connection, url: URL, headers: Mapping[str, str]) -> bytes:
    """Raises SourceRefused for what no request may hold: without the value, which may be a token."""
    asked = {"Host": url.host_port_subcomponent or "", **headers}
    try:
        sent = [(name.encode("ascii"), value.encode("latin-1")) for name, value in asked.items()]
        request = parser.send(h11.Request(method="GET", target=url.raw_path_qs, headers=sent))
    except (h11.LocalProtocolError, UnicodeError):
        raise SourceRefused(
            "source-forbidden",
            f"{url.raw_host} cannot be asked: the address or one of {', '.join(asked)} holds characters that HTTP forbids",
        ) from None
    return (request or b"") + (parser.send(h11.EndOfMessage()) or b"")


def _parser() -> h11.Connection:
    return h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
