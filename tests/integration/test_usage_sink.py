"""An engine sends usage to `status` itself, over HTTP and real PostgreSQL, as where the Broker may forget."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn

from functions.kit import app
from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.events import UsageRecord
from functions.kit.settings import Secret
from functions.kit.signature import Keyring
from functions.serve.engine.usage import HttpSender, Ledger, Undelivered
from functions.status.app import routes
from functions.status.deps import Deps
from tests.deliveries import ENGINE_KEYS, KEYRING, TRUST
from tests.integration.test_status import Admin, unpublished
from tests.nowhere import NO_OBJECTS


class Twice(HttpSender):
    """An engine's sender that does not hear the answer to its first delivery."""

    sent = 0

    async def send(self, event_headers: dict[str, str], body: bytes) -> None:
        """See Sender."""
        await super().send(event_headers, body)
        self.sent += 1
        if self.sent == 1:
            raise Undelivered("the answer got lost")


@asynccontextmanager
async def served(handle: Any) -> AsyncIterator[str]:
    """The function behind a real socket; its URL."""
    server = uvicorn.Server(uvicorn.Config(handle, port=0, log_config=None, lifespan="off"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        serving = asyncio.create_task(server.serve([listening]))
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        await serving


async def test_a_batch_that_an_engine_posts_twice_is_counted_once(database_url: str) -> None:
    """Straight to /events over HTTP: its own sender and headers, no Broker; the first answer got lost."""
    database = Database(Secret(database_url))
    handle = app.build(
        routes(Deps(database, Bus(database, "/torpor/status", unpublished, KEYRING), Admin(), TRUST, NO_OBJECTS)),
        ready={},
    )
    async with served(handle) as url:
        sender = Twice(f"{url}/events")
        book = Ledger("tiny", sender, Keyring(engines=ENGINE_KEYS), capacity=10, linger_s=0)
        for request_id in ("a", "b"):
            book.record(
                UsageRecord(request_id, "alice", None, "tiny", 10, 5, "2026-01-31T00:00:00Z", 12, 200, streamed=True)
            )
        await book.close(10)
        async with httpx.AsyncClient(base_url=url) as http:
            (row,) = (await http.get("/usage")).json()["usage"]
    await database.close()
    assert (sender.sent, row["requests"], row["prompt_tokens"]) == (2, 2, 20)
