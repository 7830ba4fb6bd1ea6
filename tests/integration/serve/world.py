"""The world around `serve` in its integration tests: a Kubernetes API over HTTP, a Broker, and callers with roles.

The API is the laptop runtime's own, so versions, generations, field validation and the webhooks' refusals are real. No
controller runs behind it: a test says what the cluster reports.

The file is long because one world serves every test of serve, and its parts know each other.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer

from functions.kit import app, events
from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.identity import ACTIONS_OF_ROLE, Identity
from functions.kit.kube import Kube
from functions.kit.problem import Unauthorized
from functions.kit.publisher import PublishError
from functions.kit.settings import Secret
from functions.serve.app import routes
from functions.serve.asking import Asker
from functions.serve.deps import Deps
from functions.serve.runtimes import Runtimes
from functions.serve.settings import Settings
from kn_model.local.admission.admit import admit
from kn_model.local.admission.config import ClusterConfig
from kn_model.local.admission.supported import check
from kn_model.local.api import cluster as local
from kn_model.local.api.app import application
from kn_model.local.api.guard import Handler
from kn_model.local.objects.kinds import REVISION, SERVICE, Kind
from kn_model.local.objects.storage import MemoryStorage
from kn_model.local.objects.store import ObjectStore
from tests.deliveries import FUNCTION_KEYS, KEYRING, TRUST, delivered, signed
from tests.integration.users import add_user

Json = dict[str, Any]
T = TypeVar("T")
NAMESPACE = "torpor"
TOKEN = "serves-token"


class Killed(BaseException):
    """The process ended here: nothing after this line happened. Not an Exception, as a kill is caught by nobody."""


@dataclass
class Cluster:
    """The Kubernetes API.

    faults: answers for the next writes, as (status, message), instead of doing them. lost: how many of the next writes
    are done and then answered 504. before: called once before the next write is done.
    """

    admit: Any = admit
    store: ObjectStore = field(default_factory=lambda: ObjectStore(MemoryStorage()))
    faults: list[tuple[int, str]] = field(default_factory=list)
    lost: int = 0
    before: Callable[[], Awaitable[object]] | None = None
    writes: list[str] = field(default_factory=list)

    def application(self) -> web.Application:
        """The API, with bad luck in between."""
        app = application(local.Cluster(self.store, self.admit, check), {TOKEN: "serve"}.get)
        app.middlewares.append(self._bad_luck)
        return app

    @property
    def _bad_luck(self) -> Any:
        @web.middleware
        async def between(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.method == "GET":
                return await handler(request)
            self.writes.append(f"{request.method} {request.path.split('/')[6]}")
            if self.faults:
                raise _fault(*self.faults.pop(0))
            before, self.before = self.before, None
            if before is not None:
                await before()
            answer = await handler(request)
            if self.lost:
                self.lost -= 1
                raise _fault(504, "the answer was lost")
            return answer

        return between

    def names(self, kind: Kind) -> list[str]:
        """The objects of a kind, by name."""
        return sorted(obj["metadata"]["name"] for obj in self.store.list(kind, NAMESPACE))

    def service(self, name: str) -> Json:
        """One Knative Service."""
        return self.store.get(SERVICE, NAMESPACE, name)

    async def report(self, name: str, *conditions: tuple[str, str, str], replicas: int | None = None) -> list[Json]:
        """What the cluster says of the current generation; with `replicas` its revision is told as well."""
        service = self.service(name)
        generation = service["metadata"]["generation"]
        status = {
            "observedGeneration": generation,
            "latestCreatedRevisionName": f"{name}-{generation:05}",
            "conditions": [{"type": "Ready", "status": conditions[0][1], "reason": conditions[0][2]}],
        }
        told = [await self.store.set_status(SERVICE, NAMESPACE, name, status)]
        if replicas is not None:
            told.append(await self._report_revision(service, generation, conditions[1:], replicas))
        return told

    async def _report_revision(
        self, service: Json, generation: int, conditions: tuple[tuple[str, str, str], ...], replicas: int
    ) -> Json:
        name = f"{service['metadata']['name']}-{generation:05}"
        if self.store.find(REVISION, NAMESPACE, name) is None:
            template = service["spec"]["template"]
            labels = {**template["metadata"]["labels"], "serving.knative.dev/configurationGeneration": str(generation)}
            await self.store.create(
                {
                    "apiVersion": "serving.knative.dev/v1",
                    "kind": "Revision",
                    "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
                    "spec": template["spec"],
                }
            )
        told = [{"type": kind, "status": state, "reason": why, "message": f"{why}."} for kind, state, why in conditions]
        status = {"observedGeneration": 1, "actualReplicas": replicas, "conditions": told}
        return await self.store.set_status(REVISION, NAMESPACE, name, status)


def _fault(code: int, message: str) -> web.HTTPException:
    """The answer of an API server that refuses or fails."""
    kind = type("Fault", (web.HTTPException,), {"status_code": code})
    text = msgspec.json.encode({"kind": "Status", "code": code, "reason": "Fault", "message": message}).decode()
    fault: web.HTTPException = kind(text=text)
    return fault


@dataclass
class Mortal:
    """The client of the API, in a process that is killed when `calls_left` calls were made and one more was answered.

    killed: whether it was.
    """

    api: Kube
    calls_left: int = -1
    killed: bool = False

    async def get(self, resource: str, **query: str) -> Json | None:
        """GET."""
        return self._survive(await self.api.get(resource, **query))

    async def create(self, collection: str, body: Mapping[str, Any]) -> Json:
        """POST."""
        return self._survive(await self.api.create(collection, body))

    async def replace(self, resource: str, body: Mapping[str, Any]) -> Json:
        """PUT."""
        return self._survive(await self.api.replace(resource, body))

    async def delete(self, resource: str) -> bool:
        """DELETE."""
        return self._survive(await self.api.delete(resource))

    def _survive(self, answer: T) -> T:
        self.calls_left -= 1
        if self.calls_left == -1:
            self.killed = True
            raise Killed
        return answer


@dataclass
class Broker:
    """Keeps what is published, for the test to deliver when it likes. `down`: takes nothing.

    published: the types of all that it ever took.
    """

    held: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    down: bool = False

    async def __call__(self, headers: Mapping[str, str], data: bytes) -> None:
        """One event."""
        if self.down:
            raise PublishError("the Broker is down (test)")
        self.published.append(headers["ce-type"])
        self.held.append((dict(headers), data))

    def types(self) -> list[str]:
        """The types of what is held."""
        return [headers["ce-type"] for headers, _ in self.held]


@dataclass
class Roles:
    """A verifier for which the credential is the role's name, as long as that has not expired."""

    expired: set[str] = field(default_factory=set)

    async def identify(self, authorization: str | None) -> Identity:
        """`Bearer <role>`."""
        role = (authorization or "").removeprefix("Bearer ")
        if role not in ACTIONS_OF_ROLE or role in self.expired:
            raise Unauthorized("no token")
        return Identity(f"a-{role}", role, ("*",), ACTIONS_OF_ROLE[role], 0.0)


@dataclass
class World:
    """Everything that a test of `serve` touches."""

    http: httpx.AsyncClient
    db: Database
    cluster: Cluster
    broker: Broker
    api: Mortal
    roles: Roles
    count: int = 0

    async def event(self, kind: str, data: Any, *, id: str = "") -> httpx.Response:  # noqa: A002  # CloudEvents' word
        """Deliver one event as the Broker does; without an id it gets a new one."""
        self.count += 1
        headers = events.headers(id or f"test-{self.count}", "/test", kind, "test", {"actor": "somebody"})
        body = msgspec.json.encode(data)
        return await self.http.post("/events", content=body, headers=signed(headers, body))

    async def deliver(self) -> list[int]:
        """Deliver what the Broker holds, and what that leads to. Answers the status codes."""
        codes: list[int] = []
        while self.broker.held:
            headers, data = self.broker.held.pop(0)
            codes.append((await self.http.post("/events", content=data, headers=delivered(headers))).status_code)
        return codes

    async def tell(self, *objects: Json, change: str = "update") -> list[int]:
        """Deliver objects as the ApiServerSource does."""
        kind = f"dev.knative.apiserver.resource.{change}"
        return [(await self.event(kind, obj)).status_code for obj in objects]

    async def tick(self) -> int:
        """Deliver one tick."""
        return (await self.event(events.TICK, {})).status_code

    async def server(self, name: str) -> Any:
        """The newest record of this name."""
        rows = await self.db.fetch("SELECT * FROM server_records WHERE service_name = $1 ORDER BY created_at", name)
        return rows[-1]

    async def status(self, name: str) -> tuple[str, str | None]:
        """State and error of a server."""
        row = await self.server(name)
        return row["status"], row["error"]

    async def running(self, **request: Any) -> Json:
        """A server that was asked for and whose objects exist."""
        answer = await self.http.post("/serve", json={"model": "smol", **request})
        assert answer.status_code == 202, answer.text
        await self.deliver()
        created: Json = answer.json()
        return created


SMOL: Json = {
    "format": "safetensors",
    "config": {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 576,
        "intermediate_size": 1536,
        "max_position_embeddings": 8192,
        "num_attention_heads": 9,
        "num_hidden_layers": 30,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
        "dtype": "bfloat16",
    },
    "weights_bytes": 269_030_016,
    "parameters": {"BF16": 134_515_008},
}


async def add_model(db: Database, uuid: str, name: str, *, status: str = "available", serve: Any = None) -> None:
    """A model as download leaves it."""
    await db.execute(
        "INSERT INTO model_records (uuid, model_name, source, status, model_metadata, serve) VALUES ($1,$2,$3,$4,$5,$6)",
        uuid,
        name,
        f"hf://owner/{name}",
        status,
        SMOL,
        serve,
    )


@asynccontextmanager
async def world(database_url: str, credentials: Path, asker: Asker | None = None, **given: Any) -> AsyncIterator[World]:
    """`serve` on a database of its own, with one available model named smol (uuid m-1).

    credentials: an empty folder for the token of serve's service account. asker: who asks models. given: settings.
    """
    config = ClusterConfig(zero_initial_scale=given.get("zero_initial_scale", False))
    cluster, broker, db = Cluster(partial(admit, config=config)), Broker(), Database(Secret(database_url))
    await cluster.store.open()
    await cluster.store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    (credentials / "token").write_text(TOKEN)
    async with TestServer(cluster.application()) as server:
        usual = Settings(
            database_url=Secret(database_url),
            event_keys=FUNCTION_KEYS,
            kube_url=str(server.make_url("")),
            default_runtime="vllm-cpu",
            s3_endpoint="http://127.0.0.1:1",
            s3_bucket="none",
            s3_access_key=Secret(""),
            s3_secret_key=Secret(""),
            ingress_url="http://127.0.0.1:1",
            inference_key=Secret("serves-key"),
        )
        settings = replace(usual, **given)
        kube = Kube(settings.kube_url, str(credentials))
        api = Mortal(kube, calls_left=-1)
        bus = Bus(db, "/torpor/serve", broker, KEYRING)
        asker = asker or Asker(settings.ingress_url, settings.inference_key)
        roles = Roles()
        deps = Deps(settings, db, bus, api, roles, Runtimes(), TRUST, settings.objects(), asker)
        transport = httpx.ASGITransport(app.build(routes(deps), ready={}))
        caller = {"authorization": "Bearer operator"}
        async with httpx.AsyncClient(transport=transport, base_url="http://serve", headers=caller) as http:
            await add_model(db, "m-1", "smol")
            for name, role in (("a-operator", "operator"), ("a-admin", "admin"), ("somebody", "operator")):
                await add_user(db, name, role)
            yield World(http, db, cluster, broker, api, roles)
        await asker.close()
        await kube.close()
    await db.close()
