"""The processes of the simulation: functions with the real Bus and endpoint, the broker with the real Broker and Ledger.

Each start makes everything anew, as a start after a kill does: what is in memory is lost.
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, Final

import yaml
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from functions.kit import app, bus
from functions.kit.db import POOL_SIZE, Database
from functions.kit.problem import Problem
from functions.kit.publisher import PUBLISH_TIMEOUT_S, HttpPublisher
from functions.kit.settings import Keys, Secret
from functions.kit.signature import Keyring
from functions.kit.trust import Trust
from kn_model.local.addresses import Addresses
from kn_model.local.eventing.broker import Broker
from kn_model.local.eventing.delivery import Answer
from kn_model.local.eventing.ledger import Ledger, LedgerDown
from kn_model.local.eventing.sender import Send
from kn_model.local.eventing.subscriptions import Table, table
from kn_model.local.objects.storage import MemoryStorage
from kn_model.local.objects.store import ObjectStore
from tests.simulation.domain import Counted
from tests.simulation.loop import Process
from tests.simulation.network import Call, Network, Web, plain
from tests.simulation.postgres import Pool, Server

EVENTING: Final = Path(__file__).parents[2] / "eventing"
BROKER: Final = "torpor/default"
BROKER_HOST: Final = "broker-ingress.knative-eventing.svc.cluster.local"
BROKER_URL: Final = f"http://{BROKER_HOST}/{BROKER}"
KEYRING: Final = Keyring(Keys((Secret("k" * 32),)))
TRUST: Final = Trust("torpor", KEYRING)
# Sessions of the runtime's pool (kn_model/local/runtime.py: CONNECTIONS).
BROKER_POOL: Final = 8

Routes = Mapping[str, Callable[[Request], Any]]


def host(function: str) -> str:
    """A function's address, as the manifests say it."""
    return f"{function}.torpor.svc.cluster.local"


class Dns(Addresses):
    """Cluster addresses are addresses here."""

    def here(self, text: str) -> str:
        """As it is."""
        return text


def triggers() -> Table:
    """Who gets what with which retries: the manifests under eventing/, and one trigger for what the simulation counts."""
    objects = [yaml.safe_load(path.read_text()) for path in sorted((EVENTING / "triggers").glob("*.yaml"))]
    usage = next(each for each in objects if each["metadata"]["name"] == "usage.recorded--status".replace(".", "-"))
    counted = {
        **usage,
        "metadata": {"name": "counted--status", "namespace": "torpor"},
        "spec": {**usage["spec"], "filters": [{"exact": {"type": Counted.TYPE}}]},
    }
    broker = yaml.safe_load((EVENTING / "broker.yaml").read_text())
    return table([broker], [*objects, counted], Dns("http://front", "http://kube"))


class SimulatedDatabase(Database):
    """The real database edge on a pool of the simulated server."""

    def __init__(self, server: Server) -> None:
        super().__init__(Secret("postgresql://simulated"))
        self._server = server

    async def _create(self) -> Any:
        return Pool(self._server, POOL_SIZE)


class Publishing(HttpPublisher):
    """The real publisher on the simulated network."""

    def __init__(self, network: Network) -> None:
        super().__init__(BROKER_URL)
        self._session = Web(network, PUBLISH_TIMEOUT_S)


class SimulatedBroker(Broker):
    """The real broker, told who gets what without a Kubernetes API."""

    def __init__(self, ledger: Ledger, send: Send, subscriptions: Table, now: Callable[[], datetime]) -> None:
        super().__init__(_NO_OBJECTS, ledger, send, Dns("http://front", "http://kube"), now)
        self._subscriptions = subscriptions

    async def refresh(self) -> None:
        """The triggers do not change."""
        self._table = self._subscriptions
        await self._dispatcher.serve(each for row in self._table.values() for each in row)

    async def deliver(self) -> None:
        """What `run` does beside following the objects."""
        await self._dispatcher.run(alone=self._alone)


_NO_OBJECTS: Final = ObjectStore(MemoryStorage())


class Function:
    """One instance of a function, from its start to its kill."""

    def __init__(self, process: Process, routes: Routes, bug: Callable[[str], None]) -> None:
        self.process = process
        self._routes = routes
        self._bug = bug

    async def __call__(self, call: Call) -> Answer:
        """What `kit.app` does with a request, without the layers that only measure it."""
        try:
            response: Response = await self._routes[call.path](_request(call))
        except Problem as problem:
            response = app.respond(problem)
        except Exception as error:  # noqa: BLE001 - as the framework: 500, and the simulation reports it
            self._bug(f"{self.process.name} {call.path}: {error!r}")
            return Answer(500, {})
        return Answer(response.status_code, plain(response.headers), bytes(response.body))


def events_route(handlers: Mapping[str, bus.Handler]) -> Callable[[Request], Any]:
    """The real endpoint of `POST /events`."""
    return bus.endpoint(handlers, TRUST)


def _request(call: Call) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": call.body, "more_body": False}

    headers = [(name.encode(), text.encode()) for name, text in call.headers.items()]
    return Request({"type": "http", "method": "POST", "path": call.path, "headers": headers}, receive)


async def broker_ingress(broker: Broker, call: Call) -> Answer:
    """What the front door does with a call of the ingress."""
    response = await broker._take(call.path.split("/"), call.headers, call.body)
    return Answer(response.status, plain(response.headers), b"")


async def opened(broker: Broker) -> None:
    """A broker starts again until PostgreSQL answers, as its supervisor sees to."""
    while True:
        try:
            return await broker.open(alone=True)
        except LedgerDown:
            await asyncio.sleep(1)


def ids(random: Random) -> Callable[[], str]:
    """Ids of events, out of the seed."""
    return lambda: f"{random.getrandbits(128):032x}"


def uuids(random: Random) -> Callable[[], uuid.UUID]:
    """Ids of the ledger, out of the seed."""
    return lambda: uuid.UUID(int=random.getrandbits(128))
