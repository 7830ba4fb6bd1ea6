"""serve and status on one PostgreSQL and one S3, a Broker that keeps events, and a model that answers as a test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from aiohttp import web
from aiohttp.test_utils import TestServer

from functions.kit import app
from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.objects import S3Objects
from functions.kit.settings import Secret
from functions.status.app import routes
from functions.status.deps import Deps
from tests.deliveries import KEYRING, TRUST, delivered
from tests.integration.serve.world import Broker, Roles, World, world
from tests.integration.users import add_user

Json = dict[str, Any]
ANSWER: Json = {"object": "chat.completion", "choices": [{"message": {"role": "assistant", "content": "Paris."}}]}
BODY: Json = {"messages": [{"role": "user", "content": "The capital of France?"}]}


@dataclass
class Model:
    """Whoever stands behind the ingress. script: answers to the next calls, (status, document); then ANSWER for ever.

    hold: when set, calls wait for it. hung_up: how many callers left before their answer.
    """

    script: list[tuple[int, Any]] = field(default_factory=list)
    asked: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)
    hold: asyncio.Event | None = None
    hung_up: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        """One call."""
        self.asked.append(({**request.headers, "path": request.path}, await request.read()))
        self.arrived.set()
        try:
            if self.hold is not None:
                await self.hold.wait()
        except asyncio.CancelledError:
            self.hung_up += 1
            raise
        status, document = self.script.pop(0) if self.script else (200, ANSWER)
        # What is a problem says so, as the laptop's front door does.
        kind = "application/problem+json" if "title" in document else "application/json"
        return web.json_response(document, status=status, content_type=kind)


@dataclass
class Stage:
    """What a test touches. unplug: from here on nobody listens where models were."""

    serve: World
    status: httpx.AsyncClient
    model: Model
    objects: S3Objects
    db: Database
    unplug: Callable[[], Awaitable[None]]
    keys: int = 0

    async def ask(self, *, key: str = "", role: str = "operator", **asked: Any) -> httpx.Response:
        """POST /inference; without a key it gets a new one."""
        self.keys += 1
        headers = {"idempotency-key": key or f"key-{self.keys}", "authorization": f"Bearer {role}"}
        return await self.serve.http.post("/inference", json={"server": "smol", "body": BODY, **asked}, headers=headers)

    async def asked(self, **asked: Any) -> str:
        """The id of a request that was accepted."""
        answer = await self.ask(**asked)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def read(self, uuid: str, role: str = "operator") -> Json:
        """GET /inference/{id}."""
        answer = await self.status.get(f"/inference/{uuid}", headers={"authorization": f"Bearer {role}"})
        assert answer.status_code == 200, answer.text
        document: Json = answer.json()
        return document

    async def state(self, uuid: str) -> str:
        """Its status."""
        return str((await self.read(uuid))["status"])

    def requests(self, kind: str = "inference.requested") -> list[tuple[dict[str, str], bytes]]:
        """Take the events of a kind from the Broker."""
        kind = f"dev.torpor.{kind}.v1"
        taken = [each for each in self.serve.broker.held if each[0]["ce-type"] == kind]
        self.serve.broker.held = [each for each in self.serve.broker.held if each[0]["ce-type"] != kind]
        return taken

    async def post(self, event: tuple[dict[str, str], bytes]) -> int:
        """Deliver one event to serve, as late as the Broker does: by then what was put off is due."""
        headers, data = event
        await self.db.execute("UPDATE inference_requests SET due_at = now() WHERE due_at > now()")
        return (await self.serve.http.post("/events", content=data, headers=delivered(headers))).status_code

    async def deliver(self) -> list[int]:
        """Deliver what serve has to do, and what that leads to; events of status stay."""
        codes: list[int] = []
        while waiting := [*self.requests(), *self.requests("webhook.requested")]:
            codes += [await self.post(event) for event in waiting]
        return codes

    async def redriven(self, event: tuple[dict[str, str], bytes]) -> None:
        """What status leaves when an operator has the event's dead letter sent again."""
        headers, data = event
        await self.db.execute(
            "INSERT INTO dead_letters (source, event_id, type, data, redriven_at) VALUES ($1, $2, $3, $4, clock_timestamp())"
            " ON CONFLICT (source, event_id, error_dest) DO UPDATE SET redriven_at = clock_timestamp()",
            headers["ce-source"],
            headers["ce-id"],
            headers["ce-type"],
            data,
        )


@asynccontextmanager
async def stage(database_url: str, s3: Mapping[str, str], folder: Path, **given: Any) -> AsyncIterator[Stage]:
    """Everything, with one server named smol. given: settings of serve."""
    async with AsyncExitStack() as stack:
        model, ingress = Model(), web.Application()
        ingress.router.add_route("*", "/{path:.*}", model.answer)
        server = TestServer(ingress)
        await server.start_server()
        stack.push_async_callback(server.close)
        bucket = {f"s3_{name}": s3[name] for name in ("endpoint", "region", "bucket")}
        keys = {f"s3_{name}": Secret(s3[name]) for name in ("access_key", "secret_key")}
        settings = {"ingress_url": str(server.make_url("")), "inference_attempts": 3, **bucket, **keys, **given}
        serve = await stack.enter_async_context(world(database_url, folder, **settings))
        db = Database(Secret(database_url))
        stack.push_async_callback(db.close)
        objects = S3Objects(s3["endpoint"], s3["region"], keys["s3_access_key"], keys["s3_secret_key"], s3["bucket"])
        deps = Deps(db, Bus(db, "/torpor/status", Broker(), KEYRING), Roles(), TRUST, objects)
        transport = httpx.ASGITransport(app.build(routes(deps), ready={}))
        status = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://status"))
        await add_user(db, "a-user", "user")
        await serve.running(name="smol")
        serve.broker.held.clear()
        yield Stage(serve, status, model, objects, db, server.close)
