"""`serve` before the laptop's own controller: Services become revisions, routes and tags as they do there, at once.

Only the processes are played: what an engine of a model would do is said by the test. So versions, generations, traffic,
tags, conditions and garbage are real, and nothing has to start.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from functions.kit.events import RolloutMeasured
from functions.kit.problem import Retry
from functions.kit.settings import Secret
from functions.serve.asking import Answer, Asker
from kn_model.local.addresses import Addresses
from kn_model.local.door.directory import Directory
from kn_model.local.objects.kinds import REVISION, SERVICE
from kn_model.local.serving.instance import Instance, StartFailed
from kn_model.local.serving.reconciler import Serving
from tests.integration.serve.world import NAMESPACE, Json, World, add_model, world

PARIS = b'{"choices": [{"message": {"content": "The capital of France is Paris."}}]}'
_USAGE = (
    "event_source event_id position request_id server_name model_name subject prompt_tokens completion_tokens "
    "started_at duration_ms status streamed revision first_token_ms"
)
# Longer than anything here takes on a busy machine; a test that waits for it has failed.
PATIENCE_S = 30


@dataclass
class Engines:
    """What the engines of each model do, by its uuid. fails: the reason that they do not start for, and the words.

    says: what they answer a prompt with: a status and a body, or nothing at all.
    """

    fails: dict[str, tuple[str, str]] = field(default_factory=dict)
    says: dict[str, tuple[int, bytes] | None] = field(default_factory=dict)
    launched: list[str] = field(default_factory=list)

    async def launch(self, revision: Json) -> Instance:
        """One replica that is up at once, or a failure."""
        model = revision["metadata"]["labels"]["torpor.dev/model"]
        if model in self.fails:
            raise StartFailed(*self.fails[model])
        self.launched.append(revision["metadata"]["name"])
        return cast("Instance", Replica())


class Replica:
    """An instance without a process."""

    def __init__(self) -> None:
        self.name, self.url, self.in_flight, self.killed_because = "replica", "http://127.0.0.1:1", 0, ""
        self.plan = SimpleNamespace(memory_limit=None)
        self.process = SimpleNamespace(pid=0)
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def ready(self, _: float) -> None:
        """At once."""

    async def fails_liveness(self) -> None:
        """Never."""
        await asyncio.Event().wait()

    def failure(self) -> StartFailed:
        """It was killed."""
        return StartFailed("ExitCode1", "Container failed with: it was told to")

    async def stop(self, _: float = 0) -> None:
        """At once."""
        self.kill()

    def kill(self, because: str = "") -> None:
        """At once."""
        self.killed_because = because
        if not self.ended.done():
            self.ended.set_result(1)


class Prompter(Asker):
    """Asks whom the tag leads to, as the front door would."""

    def __init__(self, engines: Engines) -> None:
        super().__init__("http://127.0.0.1:1", Secret("serves-key"))
        self.engines = engines
        self.stage: Stage | None = None
        self.asked: list[str] = []

    async def ask(self, host: str, path: str, body: bytes, **_: Any) -> Answer:
        """The candidate's answer."""
        tag, name = host.partition(".")[0].split("-", 1)
        assert (tag, self.stage is not None, msgspec.json.decode(body)["model"]) == ("candidate", True, name)
        assert self.stage is not None
        revision = self.stage.tagged(name)
        self.asked.append(revision + path)
        said = self.engines.says.get(self.stage.model_of(revision), (200, PARIS))
        if said is None:
            raise Retry(1, f"{host} does not answer")
        return Answer(said[0], said[1], 1, {})


@dataclass
class Stage:
    """The world, with the controller in it."""

    world: World
    engines: Engines
    prompter: Prompter
    serving_stops: Callable[[], Awaitable[None]]
    told: dict[str, str] = field(default_factory=dict)

    # --- what is there ---

    def service(self, name: str = "smol") -> Json:
        """The Knative Service."""
        return self.world.cluster.service(name)

    def traffic(self, name: str = "smol") -> dict[str, int]:
        """Revision -> percent, as the controller routes now; those without traffic are left out."""
        found = self.service(name)["status"]["traffic"]
        assert sum(target["percent"] for target in found) == 100
        return {target["revisionName"]: target["percent"] for target in found if target["percent"]}

    def tagged(self, name: str) -> str:
        """The revision behind the tag `candidate`."""
        found = [target for target in self.service(name)["status"]["traffic"] if target.get("tag") == "candidate"]
        return str(found[0]["revisionName"])

    def model_of(self, revision: str) -> str:
        """The model that a revision serves."""
        labels = self.world.cluster.store.get(REVISION, NAMESPACE, revision)["metadata"]["labels"]
        return str(labels["torpor.dev/model"])

    def models(self, name: str = "smol") -> dict[str, int]:
        """Model -> percent of the traffic."""
        return {self.model_of(revision): percent for revision, percent in self.traffic(name).items()}

    def replicas(self, revision: str) -> int:
        """How many run."""
        status = self.world.cluster.store.get(REVISION, NAMESPACE, revision)["status"]
        return int(status["actualReplicas"])

    def pinned(self) -> list[str]:
        """Revisions that are kept from being collected."""
        found = self.world.cluster.store.list(REVISION, NAMESPACE)
        kept = [obj for obj in found if obj["metadata"]["annotations"].get("serving.knative.dev/no-gc") == "true"]
        return [obj["metadata"]["name"] for obj in kept]

    async def rollout(self, name: str = "smol") -> Any:
        """The newest rollout."""
        query = "SELECT * FROM rollouts WHERE server_name = $1 ORDER BY created_at DESC LIMIT 1"
        return await self.world.db.fetchrow(query, name)

    async def where(self) -> str:
        """For a test that failed."""
        row = await self.rollout() or {}
        return f"{[row.get(name) for name in ('status', 'percent', 'why')]} {self.service().get('status')}"

    # --- what happens ---

    async def tell_news(self) -> None:
        """Deliver what the ApiServerSource and the Broker have."""
        codes = await self.world.deliver()
        for kind in (SERVICE, REVISION):
            for obj in self.world.cluster.store.list(kind, NAMESPACE):
                version = obj["metadata"]["resourceVersion"]
                if self.told.get(obj["metadata"]["uid"]) != version:
                    codes += await self.world.tell(obj)
                    self.told[obj["metadata"]["uid"]] = version
        codes += await self.world.deliver()
        assert 500 not in codes

    async def until(self, holds: Callable[[], Any], what: str) -> None:
        """Deliver whatever there is until something holds; `holds` may be a coroutine function."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            await self.tell_news()
            found = holds()
            if await found if asyncio.iscoroutine(found) else found:
                return
            assert time.monotonic() < deadline, f"{what}: {await self.where()}"
            await asyncio.sleep(0.01)

    async def until_state(self, state: str) -> Any:
        """Deliver until the rollout is in this state. Answers its row."""

        async def holds() -> bool:
            row = await self.rollout()
            return row is not None and row["status"] == state

        await self.until(holds, f"the rollout is {state}")
        return await self.rollout()

    async def until_ready(self) -> None:
        """Deliver until the server is ready."""

        async def ready() -> bool:
            return (await self.world.status("smol"))[0] == "ready"

        await self.until(ready, "the server is ready")

    async def until_models(self, **percent: int) -> None:
        """Deliver until the traffic is so: model (with _ for -) to percent."""
        wanted = {model.replace("_", "-"): share for model, share in percent.items()}
        await self.until(lambda: self.models() == wanted, f"traffic is {wanted}")

    async def serving(self, model: str = "smol", **request: Any) -> None:
        """A server that is ready, and nothing left to tell."""
        answer = await self.world.http.post("/serve", json={"model": model, "name": "smol", **request})
        assert answer.status_code == 202, answer.text

        await self.until_ready()

    async def roll(self, **patch: Any) -> Any:
        """PATCH /serve/smol to the model m-2 unless another change is said; steps that hold as soon as they may."""
        rollout = {"hold_s": 0, "min_requests": 0, **patch.pop("rollout", {})}
        answer = await self.world.http.patch("/serve/smol", json={"model": "better", "rollout": rollout, **patch})
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def used(self, revision: str, count: int, *, errors: int = 0, first_token_ms: int = 50) -> None:
        """Usage as status stores it, and the event that follows from it."""
        columns = _USAGE.split()
        batch = f"{revision}-{time.monotonic_ns()}"
        used = ["r", "smol", "m", "s", 1, 1, datetime.now(UTC), 10]
        rows = [
            ["/test", batch, place, *used, 500 if place < errors else 200, True, revision, first_token_ms]
            for place in range(count)
        ]
        async with self.world.db.connection() as connection:
            await connection.copy_records_to_table("usage", records=rows, columns=columns)
        await self.look()

    async def look(self) -> None:
        """What status emits when it has stored usage of a server whose rollout is under way."""
        row = await self.rollout()
        await self.world.event(RolloutMeasured.TYPE, {"rollout_uuid": row["uuid"]})


@asynccontextmanager
async def stage(database_url: str, credentials: Path, **settings: Any) -> AsyncIterator[Stage]:
    """`serve`, the controller, the models `smol` (m-1), `better` (m-2) and `other` (m-3)."""
    engines = Engines()
    prompter = Prompter(engines)
    async with world(database_url, credentials, prompter, **settings) as running:
        addresses = Addresses(front="http://127.0.0.1:1", kube="http://127.0.0.1:1")
        serving = Serving(running.cluster.store, engines, addresses, Directory())
        await serving.start()
        await add_model(running.db, "m-2", "better")
        await add_model(running.db, "m-3", "other")
        prompter.stage = Stage(running, engines, prompter, serving.stop)
        yield prompter.stage
        await serving.stop(0)
