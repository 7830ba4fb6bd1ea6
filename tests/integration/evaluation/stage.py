"""serve before the laptop's own controller, with models that answer as a test says: what evaluations need, and no process.

Models: `smol` (m-1), `right` (m-2) and `wrong` (m-3). S3 and PostgreSQL are real.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec

from functions.kit import app
from functions.kit.bus import Bus
from functions.kit.objects import S3Objects
from functions.kit.problem import Retry
from functions.kit.settings import Secret
from functions.serve.asking import Answer, Asker
from functions.status.app import routes
from functions.status.deps import Deps
from kn_model.local.addresses import Addresses
from kn_model.local.door.directory import Directory
from kn_model.local.objects.kinds import SERVICE
from kn_model.local.serving.reconciler import Serving
from tests.deliveries import KEYRING, TRUST
from tests.integration.serve.stage import Engines, Prompter, Stage
from tests.integration.serve.world import NAMESPACE, Json, Roles, add_model, world

CAPITAL = {
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "expect": {"contains": "Paris"},
}
SUM = {"prompt": "1 + 1 =", "expect": {"exact": "2"}, "weight": 3}


class Models(Asker):
    """Whoever stands behind a server's host. says: model's uuid -> what it answers, or a status, or None for nothing."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1", Secret("serves-key"))
        self.says: dict[str, str | int | None] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.model_of: Callable[[str], str] = str

    async def ask(  # noqa: PLR0913  # an Asker's
        self, host: str, path: str, body: bytes, *, subject: str = "", key_id: str = "", timeout_s: float
    ) -> Answer:
        """The answer of the model that the host's server has."""
        del key_id, timeout_s
        server = host.partition(".")[0]
        model = self.model_of(server)
        self.asked.append((model, path, subject))
        assert msgspec.json.decode(body)["model"] == server
        said = self.says.get(model, "Paris")
        if said is None:
            raise Retry(1, f"{host} does not answer")
        if isinstance(said, int):
            return Answer(said, b"{}", 1, {})
        choice = {"message": {"content": said}} if "chat" in path else {"text": said}
        return Answer(200, msgspec.json.encode({"choices": [choice]}), 1, {})


@dataclass
class Contest:
    """What a test touches."""

    stage: Stage
    models: Models
    objects: S3Objects
    status: httpx.AsyncClient
    seen: list[str] = field(default_factory=list)

    async def ask(self, *, role: str = "operator", **asked: Any) -> httpx.Response:
        """POST /evaluations of `right` and `wrong` for the alias `best`, unless something else is said."""
        wish = {"alias": "best", "candidates": ["wrong", "right"], "prompts": [CAPITAL], **asked}
        headers = {"authorization": f"Bearer {role}"}
        return await self.stage.world.http.post("/evaluations", json=wish, headers=headers)

    async def asked(self, **asked: Any) -> str:
        """The id of an evaluation that was accepted."""
        answer = await self.ask(**asked)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def read(self, uuid: str) -> Json:
        """GET /evaluations/{id}."""
        answer = await self.status.get(f"/evaluations/{uuid}", headers={"authorization": "Bearer operator"})
        assert answer.status_code == 200, answer.text
        document: Json = answer.json()
        return document

    async def until(self, uuid: str, *states: str) -> Json:
        """Deliver whatever there is until the evaluation is in one of these states."""

        async def there() -> bool:
            self.seen = [(await self.read(uuid))["status"]]
            return self.seen[0] in states

        await self.stage.until(there, f"the evaluation is one of {states}")
        return await self.read(uuid)

    async def pointer(self, alias: str = "best") -> Json | None:
        """What S3 says of an alias."""
        data = await self.objects.get(f"promotions/{alias}.json")
        return None if data is None else msgspec.json.decode(data)

    async def temporary(self) -> list[str]:
        """The live servers that are there for an evaluation alone."""
        rows = await self.stage.world.db.fetch(
            "SELECT service_name FROM server_records WHERE service_name LIKE '%-eval-%' AND status <> 'deleted'"
        )
        return [row["service_name"] for row in rows]

    def services(self) -> list[str]:
        """The Knative Services."""
        return self.stage.world.cluster.names(SERVICE)


@asynccontextmanager
async def contest(database_url: str, s3: Mapping[str, str], folder: Path) -> AsyncIterator[Contest]:
    """Everything."""
    engines, models = Engines(), Models()
    bucket = {f"s3_{name}": s3[name] for name in ("endpoint", "region", "bucket")}
    keys = {f"s3_{name}": Secret(s3[name]) for name in ("access_key", "secret_key")}
    async with world(database_url, folder, models, **bucket, **keys) as running:
        addresses = Addresses(front="http://127.0.0.1:1", kube="http://127.0.0.1:1")
        serving = Serving(running.cluster.store, engines, addresses, Directory())
        await serving.start()
        await add_model(running.db, "m-2", "right")
        await add_model(running.db, "m-3", "wrong")
        models.says["m-3"] = "London"
        stage = Stage(running, engines, Prompter(engines), serving.stop)
        models.model_of = lambda server: _model_of(stage, server)
        objects = S3Objects(s3["endpoint"], s3["region"], keys["s3_access_key"], keys["s3_secret_key"], s3["bucket"])
        deps = Deps(running.db, Bus(running.db, "/torpor/status", running.broker, KEYRING), Roles(), TRUST, objects)
        transport = httpx.ASGITransport(app.build(routes(deps), ready={}))
        async with httpx.AsyncClient(transport=transport, base_url="http://status") as status:
            yield Contest(stage, models, objects, status)
        await serving.stop(0)


def _model_of(stage: Stage, server: str) -> str:
    labels = stage.world.cluster.store.get(SERVICE, NAMESPACE, server)["metadata"]["labels"]
    return str(labels["torpor.dev/model"])
