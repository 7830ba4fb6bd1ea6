"""HTTP/1.1 servers of the benchmark, a thread a connection: their own cost has to be far below what they measure."""

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

REASONS: Final = {200: "OK", 204: "No Content", 206: "Partial Content", 400: "Bad Request", 403: "Forbidden"}


@dataclass(slots=True)
class Request:
    """One request; `body` reads what follows its head. target: as it was sent. free_at: of the connection, for pacing."""

    connection: "Connection"
    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> SplitResult:
        """The target, in its parts."""
        return urlsplit(self.target)

    def body(self) -> bytearray:
        """All of the body, by Content-Length; says 100 first where that is waited for."""
        if self.headers.get("expect", "").lower() == "100-continue":
            self.connection.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return self.connection.read(int(self.headers.get("content-length", "0")))


@dataclass(slots=True)
class Connection:
    """A client's connection, and what was read past the last message."""

    socket: socket.socket
    rest: bytes = b""
    free_at: float = 0.0

    def request(self) -> Request | None:
        """The next request, or None at the end."""
        while b"\r\n\r\n" not in self.rest:
            more = self.socket.recv(65536)
            if not more:
                return None
            self.rest += more
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.partition(":") for line in lines)
        return Request(self, method, target, {name.lower(): value.strip() for name, _, value in pairs})

    def read(self, size: int) -> bytearray:
        """So many bytes, without a copy of most of them."""
        data = bytearray(size)
        begun = min(size, len(self.rest))
        data[:begun], self.rest = self.rest[:begun], self.rest[begun:]
        view = memoryview(data)
        while begun < size:
            count = self.socket.recv_into(view[begun:], size - begun)
            if not count:
                raise ConnectionError("the client went away")
            begun += count
        return data

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        """A whole answer, or with a Content-Length of its own, its head."""
        fields = {"Content-Length": str(len(body)), **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.socket.sendall(f"HTTP/1.1 {status} {REASONS.get(status, 'Other')}\r\n{lines}\r\n".encode() + body)


def serve(handle: Callable[[Request], None], ready: Callable[[int], None]) -> None:
    """Serve for ever on a free port of loopback, which `ready` is told."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    ready(listener.getsockname()[1])
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_talk, args=(Connection(client), handle), daemon=True).start()


def _talk(connection: Connection, handle: Callable[[Request], None]) -> None:
    with connection.socket:
        try:
            while (request := connection.request()) is not None:
                handle(request)
        except OSError:
            # A client that leaves in the middle is one that is done; what it misses it will say itself.
            return
