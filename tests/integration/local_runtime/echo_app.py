"""A small service for tests of the laptop runtime: says who it is, streams, is slow, and dies when told.

Standard library only, so that an instance starts in a tenth of a second. Environment: PORT; FAIL=1 dies at start.
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Echo(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Dispatch by path."""
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match url.path:
            case "/slow":
                time.sleep(float(query["s"]))
                self._answer({"slept": query["s"]})
            case "/stream":
                self._stream(int(query["chunks"]), float(query["gap"]))
            case "/env":
                self._answer(dict(os.environ))
            case _:
                self._answer(self._about())

    def do_POST(self) -> None:
        """Say how long the body was, chunked or not; die, be slow, or answer at length, as told by the path."""
        if self.path.startswith("/exit/"):
            os._exit(int(self.path.removeprefix("/exit/")))
        if self.path.startswith("/slow/"):
            time.sleep(float(self.path.removeprefix("/slow/")))
        large = int(self.path.removeprefix("/large/")) if self.path.startswith("/large/") else 0
        self._answer(self._about() | {"body": len(self._body()), "filling": "x" * large})

    def _about(self) -> dict[str, object]:
        return {
            "revision": os.environ["K_REVISION"],
            "pid": os.getpid(),
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
        }

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, value: dict[str, object] | dict[str, str]) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, chunks: int, gap_s: float) -> None:
        """Server-sent events; notes on stderr when the reader hung up."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for number in range(chunks):
                self.wfile.write(f"data: {number} {time.monotonic()}\n\n".encode())
                self.wfile.flush()
                time.sleep(gap_s)
        except OSError:
            print("the reader hung up", file=sys.stderr)  # noqa: T201  # the log is where the test looks
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Say nothing per request."""


if __name__ == "__main__":
    if os.environ.get("FAIL"):
        sys.exit(f"echo: refusing to start, FAIL={os.environ['FAIL']}")
    if delay := os.environ.get("START_DELAY"):
        time.sleep(float(delay))
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Echo).serve_forever()
