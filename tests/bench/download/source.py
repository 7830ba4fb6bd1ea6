"""A hub with one repository, whose bytes it sends from shared memory, at most so many a second on each connection.

    python -m tests.bench.download.source FOLDER MEGABYTES_PER_SECOND      (0: as fast as it goes)

Speaks what `hf download` and Torpor ask of a hub. The folder holds the files and `digests.json`. Prints its port.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Final

from tests.bench.download.wire import Request, serve

COMMIT: Final = "c" * 40
_PIECE: Final = 256 * 1024
_RANGE: Final = "bytes="


class Source:
    """rate: bytes a second of one connection, 0 for no limit."""

    def __init__(self, folder: Path, rate: float) -> None:
        self._rate = rate
        self._digests: dict[str, str] = json.loads((folder / "digests.json").read_text())
        self._files = {name: os.open(folder / name, os.O_RDONLY) for name in self._digests}
        self._sizes = {name: os.fstat(file).st_size for name, file in self._files.items()}

    def handle(self, request: Request) -> None:
        """Answer one request."""
        path = request.url.path
        name = path.rpartition("/")[2]
        if path.startswith("/api/") and "/tree/" in path:
            self._json(request, [self._entry(name) for name in self._files])
        elif path.startswith("/api/"):
            siblings = [{"rfilename": name, "size": self._sizes[name], "lfs": self._lfs(name)} for name in self._files]
            about = {"id": "acme/model", "modelId": "acme/model", "private": False, "gated": False, "tags": []}
            self._json(request, {**about, "sha": COMMIT, "siblings": siblings})
        elif name in self._files:
            self._send(request, name)
        else:
            request.connection.answer(404, {"X-Error-Code": "EntryNotFound"})

    def _lfs(self, name: str) -> dict[str, object]:
        return {"sha256": self._digests[name], "size": self._sizes[name], "pointerSize": 134}

    def _entry(self, name: str) -> dict[str, object]:
        lfs = {"oid": self._digests[name], "size": self._sizes[name], "pointerSize": 134}
        return {"type": "file", "path": name, "size": self._sizes[name], "oid": "b" * 40, "lfs": lfs}

    def _json(self, request: Request, value: object) -> None:
        request.connection.answer(200, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def _send(self, request: Request, name: str) -> None:
        size = self._sizes[name]
        start, end, status = 0, size, 200
        headers = {"ETag": f'"{self._digests[name]}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        headers |= {"X-Linked-Size": str(size), "X-Linked-Etag": f'"{self._digests[name]}"'}
        if asked := request.headers.get("range", "").removeprefix(_RANGE):
            first, _, last = asked.partition("-")
            start, end, status = int(first), int(last) + 1 if last else size, 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        request.connection.answer(status, {**headers, "Content-Length": str(end - start)})
        if request.method != "HEAD":
            self._pace(request, self._files[name], start, end)

    def _pace(self, request: Request, file: int, start: int, end: int) -> None:
        """Send the bytes; a connection earns no credit while nobody asks."""
        connection = request.connection
        connection.free_at = max(connection.free_at, time.monotonic())
        while start < end:
            piece = min(_PIECE, end - start) if self._rate else end - start
            if self._rate:
                time.sleep(max(0.0, connection.free_at - time.monotonic()))
                connection.free_at += piece / self._rate
            start += os.sendfile(connection.socket.fileno(), file, start, piece)


if __name__ == "__main__":
    serve(
        Source(Path(sys.argv[1]), float(sys.argv[2]) * 1e6).handle,
        lambda port: print(port, flush=True),  # noqa: T201  # its answer to who started it
    )
