"""GETs of ranges: connections that are kept, bodies that go straight into the memory of a part, silence that is noticed.

A general client hands a body over in chunks of its own, which are copied twice more before they lie in a part: 0.7 s of a
core per GiB instead of 0.4. `http` decides whom to ask, `connection` speaks HTTP.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

import aiohappyeyeballs
import h11
from multidict import CIMultiDict
from yarl import URL

from functions.download.connection import Connection, Room
from functions.download.problems import SourceUnwell
from functions.kit.guard import Guard

# Slower than this over the stall time is a stall, though bytes drip.
LOWEST_RATE: Final = 1024
# How long a connection may have been idle; servers keep them for at least a little longer.
IDLE_S: Final = 10.0
# A second address is tried beside the first after this long (RFC 8305, section 8).
_NEXT_ADDRESS_S: Final = 0.25


@cache
def public_authorities() -> ssl.SSLContext:
    """Whom the system trusts. Made at first use: reading them takes tens of milliseconds."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


@dataclass(slots=True)
class _Host:
    """Connections to one origin. free: places for more."""

    free: asyncio.Semaphore
    idle: list[Connection] = field(default_factory=list)


class Wire:
    """GETs over connections that are kept. Opens them at first use, to addresses that the guard has checked."""

    def __init__(
        self,
        guard: Guard,
        *,
        connect_s: float,
        stall_s: float,
        per_host: int,
        tls: Callable[[], ssl.SSLContext] = public_authorities,
    ) -> None:
        """stall_s: how long a head may take, and over how long LOWEST_RATE is judged. per_host: connections at most."""
        self._guard = guard
        self._connect_s = connect_s
        self._stall_s = stall_s
        self._per_host = per_host
        self._tls = tls
        self._hosts: dict[URL, _Host] = {}

    async def get(self, url: URL, headers: Mapping[str, str]) -> "Answer":
        """The head of an answer; its body waits. Raises OSError, SourceUnwell, and what the guard refuses with."""
        host = self._hosts.setdefault(url.origin(), _Host(asyncio.Semaphore(self._per_host)))
        await host.free.acquire()
        try:
            return await self._ask(host, url, headers)
        except BaseException:
            host.free.release()
            raise

    def close(self) -> None:
        """Close what is idle."""
        for host in self._hosts.values():
            for connection in host.idle:
                connection.close()
        self._hosts.clear()

    async def _ask(self, host: _Host, url: URL, headers: Mapping[str, str]) -> "Answer":
        while (kept := _kept(host)) is not None:
            try:
                return Answer(url, host, kept, await kept.ask(url, headers, self._stall_s), self._stall_s)
            except ConnectionError:
                # The server had closed it, or was about to: that says nothing about this request.
                continue
        connection = await self._connect(url)
        return Answer(url, host, connection, await connection.ask(url, headers, self._stall_s), self._stall_s)

    async def _connect(self, url: URL) -> Connection:
        name, port = url.raw_host or "", url.port or 0
        async with asyncio.timeout(self._connect_s):
            found = await self._guard.resolve(name, socket.AF_UNSPEC)
            to = await aiohappyeyeballs.start_connection(
                [_entry(address, port) for address in found],
                happy_eyeballs_delay=_NEXT_ADDRESS_S,
                interleave=1,
                socket_factory=self._guard.socket_to,
            )
            to.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tls, asked = (self._tls(), name) if url.scheme == "https" else (None, None)
            _, connection = await asyncio.get_running_loop().create_connection(
                Connection, sock=to, ssl=tls, server_hostname=asked
            )
        return connection


class Answer:
    """An answer whose head is here. `close` it in any case: what was read to its end is kept for the next request."""

    def __init__(self, url: URL, host: _Host, connection: Connection, head: h11.Response, stall_s: float) -> None:
        self.url = url
        self.status = head.status_code
        self.headers = CIMultiDict((name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers)
        self._host = host
        self._connection = connection
        self._stall_s = stall_s
        self._is_open = True

    @property
    def content_length(self) -> int | None:
        """Bytes of the body, where the answer says so. h11 has refused what is no number."""
        length = self.headers.get("Content-Length")
        return None if length is None or "Transfer-Encoding" in self.headers else int(length)

    async def read_into(self, room: Room) -> None:
        """Read the body into `room`, which it has to fill. Raises SourceUnwell (cut, stalls), SourceChanged (too long)."""
        body = self._connection.read_into(room, straight=self.content_length == len(room.left()))
        try:
            while not body.done():
                before, since = len(room.left()), time.monotonic()
                await asyncio.wait([body], timeout=self._stall_s)
                count, seconds = before - len(room.left()), time.monotonic() - since
                if not body.done() and count < LOWEST_RATE * seconds:
                    raise SourceUnwell(f"the source stalls: {count} bytes in {seconds:.0f} s")
            body.result()
        finally:
            body.cancel()

    def close(self) -> None:
        """Keep the connection where the body has been read to its end, close it otherwise."""
        if not self._is_open:
            return
        self._is_open = False
        if self._connection.is_reusable:
            self._connection.idle_since = time.monotonic()
            self._host.idle.append(self._connection)
        else:
            self._connection.close()
        self._host.free.release()


def _kept(host: _Host) -> Connection | None:
    """A connection that is still open, the one that was used last."""
    while host.idle:
        connection = host.idle.pop()
        if connection.is_reusable and time.monotonic() - connection.idle_since < IDLE_S:
            return connection
        connection.close()
    return None


def _entry(address: str, port: int) -> tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]:
    """As getaddrinfo answers: an address is all that is connected to, no name."""
    if ":" in address:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)
