"""`status` with a Broker that gives up on events, for the tests of dead letters and of redriving them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from functions.kit import app, events
from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.identity import ACTIONS_OF_ROLE, Identity
from functions.kit.publisher import PublishError
from functions.kit.settings import Secret
from functions.status.app import routes
from functions.status.deps import Deps
from tests.deliveries import KEYRING, TRUST, delivered
from tests.nowhere import NO_OBJECTS

DESTINATION = "http://download.torpor.svc.cluster.local/events"


class Olga:
    """A verifier that takes every caller for Olga, who operates."""

    async def identify(self, _: str | None) -> Identity:
        """Olga."""
        return Identity("olga", "operator", ("*",), ACTIONS_OF_ROLE["operator"], 0.0)


@dataclass
class Broker:
    """Keeps what is published. `down`: takes nothing. `slow`: ids whose answer waits for `go_on`."""

    published: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    down: bool = False
    slow: set[str] = field(default_factory=set)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, headers: Mapping[str, str], data: bytes) -> None:
        """One event."""
        await asyncio.sleep(0)
        if self.down:
            raise PublishError("the Broker is down (test)")
        self.published.append((dict(headers), data))
        if headers["ce-id"] in self.slow:
            await self.go_on.wait()

    def ids(self) -> list[str]:
        """What was published, by id."""
        return [headers["ce-id"] for headers, _ in self.published]


@dataclass
class World:
    """`status`, its database and its Broker."""

    db: Database
    broker: Broker
    http: httpx.AsyncClient

    async def letter(self, event_id: str, data: bytes = b"{}", *, source: str = "/torpor/download", **more: str) -> int:
        """The Broker gives up on an event; answers the letter's number."""
        attributes = {
            "type": "dev.torpor.file.requested.v1",
            "subject": "m-1",
            "knativeerrordest": DESTINATION,
            "knativeerrorcode": "500",
            **more,
        }
        headers = {f"ce-{name}": text for name, text in attributes.items() if name != "content_type"}
        named = {"ce-specversion": "1.0", "ce-id": event_id, "ce-source": source}
        kind = {"content-type": more.get("content_type", "application/json")}
        sent = delivered({**named, **headers, **kind})
        answer = await self.http.post("/deadletters", content=data, headers=sent)
        assert (answer.status_code, answer.content) == (204, b"")
        return int(await self.db.fetchval("SELECT id FROM dead_letters ORDER BY received_at DESC, id DESC LIMIT 1"))

    async def show(self, number: int) -> Any:
        """GET one."""
        return (await self.http.get(f"/deadletters/{number}")).json()

    async def list(self, **query: str) -> list[Any]:
        """Every page of a list, one letter a page."""
        found: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            page = (await self.http.get("/deadletters", params={**query, "limit": "1", "cursor": cursor})).json()
            found += page["dead_letters"]
            cursor = page["next_cursor"]
        return found

    async def redrive(self, number: int) -> Any:
        """POST one."""
        answer = await self.http.post(f"/deadletters/{number}/redrive")
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def redrive_all(self, **wanted: Any) -> Any:
        """POST a filter."""
        answer = await self.http.post("/deadletters/redrive", json=wanted)
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def tick(self, name: str) -> None:
        """One tick, of an outbox whose rows are due."""
        await self.db.execute("UPDATE outbox SET due_at = now()")
        headers = delivered(events.headers(name, "/ping", events.TICK, "", {}))
        assert (await self.http.post("/events", content=b"{}", headers=headers)).status_code == 204


@asynccontextmanager
async def opened(database_url: str) -> AsyncIterator[World]:
    """`status` on a database of its own."""
    db, broker = Database(Secret(database_url)), Broker()
    deps = Deps(db, Bus(db, "/torpor/status", broker, KEYRING), Olga(), TRUST, NO_OBJECTS)
    transport = httpx.ASGITransport(app.build(routes(deps), ready={}))
    async with httpx.AsyncClient(transport=transport, base_url="http://status") as http:
        yield World(db, broker, http)
    await db.close()


# What a subscriber could not take: bytes that are no text, and every attribute that an event may have.
ODD = {
    "content_type": "application/octet-stream",
    "time": "2026-01-31T12:00:00Z",
    "dataschema": "https://example.org/schema",
    "actor": "ann",
    "modelname": "Qwen%202%2E5",
    "signature": "c2lnbmVk",
    "knativeerrordata": "Ym9vbQ==",
}
BYTES = bytes(range(256))
