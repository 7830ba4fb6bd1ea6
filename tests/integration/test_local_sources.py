"""Sources of the laptop runtime over HTTP: the clock and the objects of the store become events."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import ClientSession, web

from kn_model.local import ports
from kn_model.local.addresses import Addresses
from kn_model.local.eventing.sender import HttpSend
from kn_model.local.eventing.sources import Sources
from kn_model.local.objects import kinds
from kn_model.local.objects.storage import MemoryStorage
from kn_model.local.objects.store import ObjectStore
from kn_model.local.own_deliveries import OwnDeliveries

WAIT_S = 30
SINK = {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "sink"}}


@dataclass
class Sink:
    """Takes events; answers what `answers` says, then 204."""

    store: ObjectStore
    events: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.Response:
        """One event."""
        await self.open.wait()
        body = await request.read()
        status = self.answers.pop(0) if self.answers else 204
        if status == 204:
            async with self._arrived:
                self.events.append(({name.lower(): text for name, text in request.headers.items()}, body))
                self._arrived.notify_all()
        return web.Response(status=status)

    async def until(self, count: int) -> list[tuple[dict[str, str], bytes]]:
        """Wait for that many events."""
        async with asyncio.timeout(WAIT_S), self._arrived:
            await self._arrived.wait_for(lambda: len(self.events) >= count)
        return self.events


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    """A sink, and sources that follow a store."""
    store = ObjectStore(MemoryStorage())
    await store.open()
    made = Sink(store)
    made.open.set()
    port = ports.free(1)[0]
    application = web.Application()
    application.router.add_post("/_svc/torpor/sink", made.handle)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with ClientSession() as session:
        here = f"http://127.0.0.1:{port}"
        work = asyncio.create_task(
            Sources(store, HttpSend(session, OwnDeliveries(here)), Addresses(front=here, kube="https://kube")).run()
        )
        yield made
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    await runner.cleanup()


def _source(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"namespace": "torpor", "name": "one"}
    return {"apiVersion": "sources.knative.dev/v1", "kind": kind, "metadata": metadata, "spec": {**spec, "sink": SINK}}


def _watching() -> dict[str, Any]:
    selector = {"matchExpressions": [{"key": "torpor.dev/model", "operator": "Exists"}]}
    resource = {"apiVersion": "serving.knative.dev/v1", "kind": "Revision", "selector": selector}
    return _source("ApiServerSource", {"mode": "Resource", "resources": [resource]})


def _revision(name: str, **labels: str) -> dict[str, Any]:
    metadata = {"namespace": "torpor", "name": name, "labels": labels}
    return {"apiVersion": "serving.knative.dev/v1", "kind": "Revision", "metadata": metadata, "spec": {}}


def _model(name: str) -> dict[str, Any]:
    return _revision(name, **{"torpor.dev/model": "smol"})


async def test_changes_of_selected_objects_become_events(sink: Sink) -> None:
    """add, update and delete, each with the whole object; objects without the label stay silent."""
    await sink.store.create(_watching())
    await sink.store.create(_revision("other"))
    await sink.store.create(_model("smol-00001"))
    await sink.until(1)
    await sink.store.set_status(kinds.REVISION, "torpor", "smol-00001", {"ready": True})
    await sink.until(2)
    await sink.store.delete(kinds.REVISION, "torpor", "smol-00001")
    found = await sink.until(3)
    assert [headers["ce-type"].rpartition(".")[2] for headers, _ in found] == ["add", "update", "delete"]
    assert {headers["ce-name"] for headers, _ in found} == {"smol-00001"}
    assert json.loads(found[1][1])["status"] == {"ready": True}


async def test_a_slow_sink_gets_the_last_state(sink: Sink) -> None:
    """While the sink is busy, changes of one object become one event with its last state; no object is forgotten."""
    await sink.store.create(_model("a"))
    await sink.store.create(_model("b"))
    sink.open.clear()
    await sink.store.create(_watching())
    await asyncio.sleep(0.1)
    for count in range(20):
        await sink.store.set_status(kinds.REVISION, "torpor", "b", {"count": count})
    sink.open.set()
    found = await sink.until(2)
    last = {headers["ce-name"]: json.loads(body).get("status") for headers, body in found}
    assert (len(found), last) == (2, {"a": None, "b": {"count": 19}})


async def test_what_the_sink_does_not_take_is_sent_again(sink: Sink) -> None:
    """503 twice, then the event is taken, once."""
    sink.answers += [503, 503]
    await sink.store.create(_watching())
    await sink.store.create(_model("a"))
    found = await sink.until(1)
    assert (len(found), sink.answers) == (1, [])


async def test_the_clock_ticks(sink: Sink) -> None:
    """A PingSource fires on its schedule, says where it sends to, and stops when it is deleted."""
    await sink.store.create(
        _source("PingSource", {"schedule": "* * * * * *", "contentType": "text/plain", "data": "x"})
    )
    headers, body = (await sink.until(1))[0]
    status = sink.store.get(kinds.PING_SOURCE, "torpor", "one")["status"]
    await sink.store.delete(kinds.PING_SOURCE, "torpor", "one")
    assert (headers["ce-type"], headers["content-type"], body) == ("dev.knative.sources.ping", "text/plain", b"x")
    assert status["sinkUri"].endswith("/_svc/torpor/sink")
