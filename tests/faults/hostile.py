"""A hub that can do anything to a transfer: raw HTTP/1.1, so that it may lie where a proper server could not.

`Hostile` speaks the hub's API for repositories of one file, and serves the same files below /file/ for sources that are plain
addresses. What it does to a request for bytes is `behave`'s decision: an `Answer`, or None for an honest one.
"""

import asyncio
import contextlib
import hashlib
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

MIB: Final = 1024 * 1024
COMMIT: Final = "c" * 40
# Bytes of one write: a cut is exact, and a count of what was sent is true to this.
_CHUNK: Final = 65536


@dataclass
class Shared:
    """A file as the hub has it. sha256: what it promises. sent: bytes of it that went out, as spans in the order of requests."""

    content: bytes
    path: str = "model.safetensors"
    sha256: str = ""
    etag: str = '"one"'
    sent: list[tuple[int, int]] = field(default_factory=list)

    @property
    def promised(self) -> str:
        """The digest in the listing: the true one unless the test says otherwise."""
        return self.sha256 or hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Asked:
    """One request for bytes: of which file, from where up to where, and how often this file was asked for before."""

    repository: str
    file: Shared
    start: int
    end: int
    before: int
    path: str
    headers: Mapping[str, str]

    @property
    def honest(self) -> bytes:
        """The bytes asked for."""
        return self.file.content[self.start : self.end]


@dataclass
class Answer:
    """What is sent. cut_after: bytes of the body, after which the connection ends. pace: a wait before each of its bytes.

    length: the Content-Length that is claimed; None tells the truth.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut_after: int | None = None
    length: int | None = None
    silent_s: float = 0.0
    pace_s: float = 0.0

    @classmethod
    def of(cls, asked: Asked, body: bytes | None = None) -> "Answer":
        """The honest one, with other bytes where `body` says so."""
        span = f"bytes {asked.start}-{asked.end - 1}/{len(asked.file.content)}"
        headers = {"ETag": asked.file.etag, "Content-Range": span}
        return cls(206, headers, asked.honest if body is None else body)


Behave = Callable[[Asked], Answer | None]


@dataclass
class Hostile:
    """The server; `async with hostile.serving()`."""

    behave: Behave = lambda _: None
    files: dict[str, Shared] = field(default_factory=dict)
    commit: str = COMMIT
    # So many files more in each repository's listing.
    crowd: int = 0
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    def share(self, repository: str, content: bytes, path: str = "model.safetensors") -> Shared:
        """Add a repository `acme/<repository>` of one file."""
        self.files[repository] = Shared(content, path)
        return self.files[repository]

    def forget(self, repository: str) -> None:
        """A repository, its bytes, and who asked for them: thousands of models would fill the memory."""
        del self.files[repository]
        self.asked = [asked for asked in self.asked if asked.repository != repository]

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["Hostile"]:
        """Listen on loopback."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for writer in list(self._open):
                writer.transport.abort()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._request(await reader.readuntil(b"\r\n\r\n"), writer):
                pass
        self._open.discard(writer)
        writer.close()

    async def _request(self, head: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection lives on."""
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        path = first.split(" ")[1]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        parts = path.split("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            return await self._send(writer, self._information(parts[3]), None)
        repository = parts[1]
        file = self.files.get(repository)
        if file is None:
            return await self._send(writer, Answer(404), None)
        start, end = _range(headers.get("range", ""), len(file.content))
        asked = Asked(repository, file, start, end, len(file.sent), path, headers)
        self.asked.append(asked)
        return await self._send(writer, self.behave(asked) or Answer.of(asked), asked)

    def _information(self, repository: str) -> Answer:
        file = self.files.get(repository)
        if file is None:
            return Answer(404)
        lfs = {"sha256": file.promised, "size": len(file.content), "pointerSize": 1}
        sibling = {"rfilename": file.path, "size": len(file.content), "lfs": lfs}
        crowd = [{"rfilename": f"shard-{number}.safetensors", "size": 1, "lfs": lfs} for number in range(self.crowd)]
        document = {"sha": self.commit, "siblings": [sibling, *crowd]}
        return Answer(200, {"Content-Type": "application/json"}, json.dumps(document).encode())

    async def _send(self, writer: asyncio.StreamWriter, answer: Answer, asked: Asked | None) -> bool:
        await asyncio.sleep(answer.silent_s)
        length = len(answer.body) if answer.length is None else answer.length
        lines = [f"HTTP/1.1 {answer.status} Whatever", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        body = answer.body if answer.cut_after is None else answer.body[: answer.cut_after]
        place = None
        if asked is not None:
            asked.file.sent.append((asked.start, asked.start))
            place = len(asked.file.sent) - 1
        step = 1 if answer.pace_s else _CHUNK
        for offset in range(0, len(body), step):
            await asyncio.sleep(answer.pace_s)
            writer.write(body[offset : offset + step])
            await writer.drain()
            if asked is not None and place is not None:
                asked.file.sent[place] = (asked.start, asked.start + min(offset + step, len(body)))
        await writer.drain()
        return len(body) == length


def _range(text: str, size: int) -> tuple[int, int]:
    start, _, last = text.removeprefix("bytes=").partition("-")
    return (int(start), min(int(last) + 1 if last else size, size)) if start else (0, size)


def tensor_file(size: int, dice: random.Random) -> bytes:
    """A valid safetensors file of exactly so many bytes, whose content nobody else has."""
    header = b""
    for _ in range(2):
        length = size - 8 - len(header)
        tensor = {"weight": {"dtype": "U8", "shape": [length], "data_offsets": [0, length]}}
        header = json.dumps(tensor).encode().ljust(96)
    return len(header).to_bytes(8, "little") + header + dice.randbytes(size - 8 - len(header))
