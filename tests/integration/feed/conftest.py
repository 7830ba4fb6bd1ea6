"""A running `status` and clients of its streams."""

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from functions.kit.db import Database
from functions.kit.events import Event, headers
from functions.kit.settings import Secret
from kn_model.local import ports
from tests.deliveries import signed

ROOT = Path(__file__).parents[3]
_NUMBERS = itertools.count()
# For a Python process on a busy machine.
START_S = 60


@dataclass
class Heard:
    """One server-sent event."""

    id: str
    event: str
    data: Any


@dataclass
class Feed:
    """The process, its database, and calls to it."""

    process: Process
    db: Database
    port: int
    http: httpx.AsyncClient
    sent: list[str] = field(default_factory=list)

    async def happens(self, event: Event, actor: str = "olga") -> str:
        """The Broker delivers it; answers the event's id."""
        data, name = msgspec.json.encode(event), f"happened-{next(_NUMBERS)}"
        attributes = headers(name, "/torpor/download", event.TYPE, event.subject, {"actor": actor})
        response = await self.http.post("/events", content=data, headers=signed(attributes, data))
        assert response.status_code == 204, response.text
        return name

    @contextlib.asynccontextmanager
    async def follow(
        self, *, after: str = "", who: str = "user:*", model: str = ""
    ) -> AsyncIterator[AsyncIterator[Heard]]:
        """A stream; the first thing it says, where it stands, is heard as event `start`."""
        sent = {"authorization": f"Bearer {who}"} | ({"last-event-id": after} if after else {})
        query = {"model": model} if model else {}
        async with self.http.stream("GET", "/events", headers=sent, params=query) as response:
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/event-stream")
            yield _events(response.aiter_lines())

    async def stop(self) -> int:
        """SIGTERM; answers the exit status."""
        os.kill(self.process.pid, signal.SIGTERM)
        return await self.process.wait()

    def resident_mib(self) -> int:
        """Memory of the process."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS"))


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[Heard]:
    fields: dict[str, str] = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields.keys() & {"id", "event"}:
            event = fields.get("event", "start")
            yield Heard(fields.get("id", ""), event, msgspec.json.decode(fields.get("data", "null")))
            fields = {}


@pytest.fixture
async def feed(database_url: str, tmp_path: Path) -> AsyncIterator[Feed]:
    """A running status."""
    (port,) = ports.free(1)
    log = tmp_path / "status.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.integration.feed.served", str(port), database_url),
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
    db = Database(Secret(database_url))
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            assert await _is_ready(process, http), (process.returncode, log.read_text())
            yield Feed(process, db, port, http)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await db.close()


async def _is_ready(process: Process, http: httpx.AsyncClient) -> bool:
    """Wait for it; not when it ended or takes too long."""
    deadline = time.monotonic() + START_S
    while process.returncode is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if (await http.get("/readyz")).status_code == 200:
                return True
        await asyncio.sleep(0.05)
    return False
