"""A broker on a real PostgreSQL and, on the same front, its subscribers: what the tests of the laptop's broker share."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from aiohttp import ClientSession, web

from kn_model.local import ports
from kn_model.local.addresses import Addresses
from kn_model.local.eventing.broker import Broker
from kn_model.local.eventing.ledger import Ledger
from kn_model.local.eventing.sender import HttpSend, Send
from kn_model.local.objects.storage import MemoryStorage
from kn_model.local.objects.store import ObjectStore
from kn_model.local.own_deliveries import OwnDeliveries

WAIT_S = 30
INGRESS = "/_svc/knative-eventing/broker-ingress"
EVENT = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/test", "ce-type": "a.happened"}
DELIVERY = {"retry": 3, "backoffPolicy": "exponential", "backoffDelay": "PT0.01S", "timeout": "PT10S"}

Behaviour = Callable[[web.Request], Awaitable[web.Response]]


@dataclass
class Subscribers:
    """A server on which every Knative Service is a function of the test: `behave["name"]`."""

    behave: dict[str, Behaviour] = field(default_factory=dict)
    calls: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.Response:
        """Note the call, then answer as the test says; 204 when it says nothing."""
        name = request.match_info["service"]
        body = await request.read()
        async with self._arrived:
            self.calls.append((name, dict(request.headers), body))
            self._arrived.notify_all()
        behaviour = self.behave.get(name)
        return await behaviour(request) if behaviour else web.Response(status=204)

    def of(self, name: str) -> list[Mapping[str, str]]:
        """The headers of the calls of one service."""
        return [headers for called, headers, _ in self.calls if called == name]

    async def until(self, name: str, count: int) -> list[Mapping[str, str]]:
        """Wait for that many calls of one service."""
        async with asyncio.timeout(WAIT_S), self._arrived:
            await self._arrived.wait_for(lambda: len(self.of(name)) >= count)
        return self.of(name)


@dataclass
class Stage:
    """A broker `default` in namespace `torpor` and its subscribers."""

    store: ObjectStore
    broker: Broker
    subscribers: Subscribers
    session: ClientSession
    front: str
    pool: Any
    ledger: Ledger

    async def subscribe(self, name: str, type_: str, delivery: Mapping[str, Any] = DELIVERY) -> None:
        """A trigger for one type of event to the service of the same name."""
        spec = {
            "broker": "default",
            "filters": [{"exact": {"type": type_}}],
            "subscriber": {
                "ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": name},
                "uri": "/events",
            },
            "delivery": delivery,
        }
        await self.store.create(_object("Trigger", name, spec))
        await self.broker.refresh()

    async def publish(self, type_: str, id_: str = "1", **headers: str) -> int:
        """Send an event in binary mode; the broker's status."""
        event = {**EVENT, "ce-id": id_, "ce-type": type_, **headers}
        url = f"{self.front}{INGRESS}/torpor/default"
        async with self.session.post(url, headers=event, data=b"{}") as answer:
            return answer.status

    async def drained(self) -> None:
        """Wait until the ledger owes nothing."""
        async with asyncio.timeout(WAIT_S):
            while await self.pool.fetchval("SELECT count(*) FROM broker.owed"):  # noqa: ASYNC110 - SQL wakes nobody
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(
    database: str,
    subscribers: Subscribers,
    port: int = 0,
    *,
    ledger: Callable[["asyncpg.Pool[Any]"], Ledger] = Ledger,
    around: Callable[[Send], Send] = lambda send: send,
) -> AsyncIterator[Stage]:
    """The broker and its subscribers. ledger, around: what a test puts in the place of the ledger, or around sending."""
    front = f"http://127.0.0.1:{port or ports.free(1)[0]}"
    store = ObjectStore(MemoryStorage())
    await store.open()
    await store.create(_object("Broker", "default", {"delivery": DELIVERY}))
    async with ClientSession() as session, asyncpg.create_pool(database, min_size=1, max_size=4) as pool:
        made = ledger(pool)
        send = around(HttpSend(session, OwnDeliveries(front)))
        broker = Broker(store, made, send, Addresses(front=front, kube=front))

        async def ingress(request: web.Request) -> web.Response:
            return await broker.ingress(request, request.raw_path.removeprefix(INGRESS))

        application = web.Application()
        application.router.add_route("*", INGRESS + "{path:.*}", ingress)
        application.router.add_post("/_svc/torpor/{service}{path:.*}", subscribers.handle)
        runner = web.AppRunner(application, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", int(front.rpartition(":")[2])).start()
        await broker.open(alone=True)
        work = asyncio.create_task(broker.run())
        stage = Stage(store, broker, subscribers, session, front, pool, made)
        yield stage
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await runner.cleanup()


def _object(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"namespace": "torpor", "name": name}
    return {"apiVersion": "eventing.knative.dev/v1", "kind": kind, "metadata": metadata, "spec": dict(spec)}
