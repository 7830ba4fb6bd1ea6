"""The function `download` on real PostgreSQL and S3, a broker that delivers in this process, and a hub to fetch from.

world      the function with its broker; `world.pull(...)`, then `await world.deliver()` until nothing is left
hub_root   the directory of the hub's repositories; `write_repository` fills it
hub        the running hub of `kn_model.hub`
source     a web server that does to a transfer what a test tells it to
The file is long because these share one world.
"""

import asyncio
import hashlib
import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from functions.download.app import routes
from functions.download.pulls import Pulls
from functions.download.settings import Settings
from functions.download.workshop import Workshop
from functions.kit import app
from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.events import TICK, FileRequested
from functions.kit.identity import Identity
from functions.kit.objects import S3Objects
from functions.kit.settings import Secret
from kn_model.hub.server import Hub
from tests.deliveries import FUNCTION_KEYS, KEYRING, TRUST, delivered
from tests.integration.users import add_user

MIB = 1024 * 1024
OPERATOR = Identity("olga", "operator", ("*",), ("infer", "read", "operate"), 0.0)


class Everybody:
    """A verifier for which whoever calls is an operator: tokens are the kit's tests' matter."""

    async def identify(self, _: str | None) -> Identity:
        """Olga, who may operate."""
        return OPERATOR


@dataclass
class Broker:
    """Keeps published events and delivers them; what a subscriber cannot take now comes again a little later."""

    queue: deque[tuple[dict[str, str], bytes]] = field(default_factory=deque)
    statuses: Counter[int] = field(default_factory=Counter)
    published: list[tuple[str, bytes]] = field(default_factory=list)

    async def __call__(self, headers: Mapping[str, str], data: bytes) -> None:
        """Take one event, as the kit's Publisher."""
        self.published.append((headers["ce-type"], data))
        self.queue.append((dict(headers), data))

    def types(self) -> list[str]:
        """What was published, in order, without the common prefix."""
        return [kind.removeprefix("dev.torpor.") for kind, _ in self.published]


@dataclass
class World:
    """The function, called as people and as the Broker call it."""

    settings: Settings
    db: Database
    objects: S3Objects
    broker: Broker
    client: httpx.AsyncClient
    workshop: Workshop
    # Who takes requests of people, and who takes events: another process may take the latter.
    events: httpx.AsyncClient | None = None

    async def pull(self, source: str, **body: Any) -> dict[str, Any]:
        """POST /models; answers the record."""
        response = await self.client.post("/models", json={"source": source, **body})
        assert response.status_code == 202, response.text
        return dict(response.json())

    async def deliver(self, *, tries: int = 3200) -> None:
        """Deliver events, eight side by side, until none is left or `tries` refusals were seen by all together."""
        left = [tries]
        workers = [asyncio.create_task(self._deliver_some(left)) for _ in range(8)]
        await asyncio.gather(*workers)

    async def _deliver_some(self, left: list[int]) -> None:
        idle = 0
        while idle < 20 and left[0] > 0:
            if not self.broker.queue:
                idle += 1
                await asyncio.sleep(0.01)
                continue
            idle = 0
            headers, data = self.broker.queue.popleft()
            if headers["ce-type"] not in {"dev.torpor.model.requested.v1", FileRequested.TYPE}:
                continue
            status = await self.send(headers, data)
            if status in {409, 503}:
                left[0] -= 1
                self.broker.queue.append((headers, data))
                await asyncio.sleep(0.05)

    async def send(self, headers: Mapping[str, str], data: bytes) -> int:
        """POST one event to the function; answers the status."""
        client = self.events or self.client
        response = await client.post("/events", content=data, headers=delivered(headers), timeout=120)
        self.broker.statuses[response.status_code] += 1
        assert response.content == b"" or response.status_code >= 400
        return response.status_code

    async def tick(self) -> int:
        """What the PingSource sends."""
        name = f"tick-{len(self.broker.published)}-{self.broker.statuses.total()}"
        attributes = {"ce-id": name, "ce-source": "/ping", "ce-type": TICK, "ce-specversion": "1.0"}
        return await self.send({**attributes, "content-type": "application/json"}, b"{}")

    async def model(self, uuid: str) -> dict[str, Any]:
        """The row of a model."""
        return dict(await self.db.fetchrow("SELECT * FROM model_records WHERE uuid = $1", uuid))

    async def files(self, uuid: str) -> dict[str, dict[str, Any]]:
        """The rows of a model's files by path."""
        rows = await self.db.fetch("SELECT * FROM model_files WHERE model_uuid = $1", uuid)
        return {row["path"]: dict(row) for row in rows}

    async def stored(self, uuid: str) -> dict[str, bytes]:
        """The contents of an available model by path, as its manifest places them; empty without a manifest."""
        manifest = json.loads(await self.objects.get(f"manifests/{uuid}.json") or b'{"files": []}')
        return {file["path"]: await self.objects.get(file["key"]) or b"" for file in manifest["files"]}

    async def uploads(self) -> list[tuple[str, str]]:
        """Unfinished uploads, wherever: all of them are this test's."""
        return await self.objects.uploads("")


MakeWorld = Callable[..., World]


async def _empty(objects: S3Objects) -> None:
    """The bucket is every test's, and content has one place: what one leaves there is found by the next, or held against it."""
    await objects.delete([found.key for place in ("blobs/", "staging/") for found in await objects.keys(place)])
    for key, upload in await objects.uploads(""):
        await objects.abort_upload(key, upload)


@pytest.fixture
async def make_world(database_url: str, s3_endpoint: dict[str, str], objects: S3Objects) -> AsyncIterator[MakeWorld]:
    """Make the function with settings of the test's choice, on this test's database and the shared bucket."""
    opened: list[World] = []
    await _empty(objects)
    users = Database(Secret(database_url))
    await add_user(users, OPERATOR.subject, OPERATOR.role)
    await users.close()

    def make(**changes: Any) -> World:
        settings = Settings(
            database_url=Secret(database_url),
            event_keys=FUNCTION_KEYS,
            s3_endpoint=s3_endpoint["endpoint"],
            s3_bucket=s3_endpoint["bucket"],
            s3_access_key=Secret(s3_endpoint["access_key"]),
            s3_secret_key=Secret(s3_endpoint["secret_key"]),
            **{
                "part_bytes": 5 * MIB,
                "stall_s": 1.0,
                "slice_s": 5.0,
                "allowed_source_hosts": ("127.0.0.1",),
                **changes,
            },
        )
        db, broker = Database(settings.database_url), Broker()
        bus = Bus(db, "/torpor/download", broker, KEYRING)
        workshop = Workshop(settings, db, bus, objects)
        pulls = Pulls(db, bus, settings.allowed_source_hosts, settings.allowed_source_folders)
        asgi = app.build(routes(pulls, lambda: workshop, Everybody(), TRUST), ready={})
        client = httpx.AsyncClient(transport=httpx.ASGITransport(asgi), base_url="http://download", timeout=120)
        world = World(settings, db, objects, broker, client, workshop)
        opened.append(world)
        return world

    yield make
    for world in opened:
        await world.client.aclose()
        await world.workshop.close()
        await world.db.close()


@pytest.fixture
def hub_root(tmp_path: Path) -> Path:
    """Where the hub's repositories lie."""
    root = tmp_path / "hub"
    root.mkdir()
    return root


@pytest.fixture
async def hub(hub_root: Path) -> AsyncIterator[Hub]:
    """The hub."""
    async with Hub(hub_root) as server:
        yield server


@pytest.fixture
async def world(make_world: MakeWorld, hub: Hub) -> World:
    """The function, fetching from that hub."""
    return make_world(hf_endpoint=hub.url)


@dataclass
class Source:
    """A hub with one repository `acme/model` of one large file, which misbehaves as a test says.

    behave: called with each request for the file's bytes; answers a response in place of the honest one, or None.
    """

    content: bytes
    path: str = "model.safetensors"
    url: str = ""
    sha256: str = ""
    etag: str = '"one"'
    asked: list[str] = field(default_factory=list)
    sent: int = 0
    behave: Callable[["Source", web.Request], Any] = lambda *_: None
    names: tuple[str, ...] = ()

    async def information(self, _: web.Request) -> web.Response:
        """Model information."""
        digest = self.sha256 or hashlib.sha256(self.content).hexdigest()
        lfs = {"sha256": digest, "size": len(self.content), "pointerSize": 1}
        siblings = [{"rfilename": name, "size": len(self.content), "lfs": lfs} for name in (self.path, *self.names)]
        return web.json_response({"sha": "a" * 40, "siblings": siblings})

    async def resolve(self, request: web.Request) -> web.StreamResponse:
        """The file, by ranges."""
        self.asked.append(request.headers.get("Range", ""))
        answer = self.behave(self, request)
        if asyncio.iscoroutine(answer):
            answer = await answer
        return answer if answer is not None else await self.honest(request)

    async def honest(self, request: web.Request, *, cut_after: int | None = None) -> web.StreamResponse:
        """The range asked for; with cut_after, that many bytes of it and then the end of the connection."""
        bounds = request.http_range
        start, end = bounds.start or 0, min(bounds.stop or len(self.content), len(self.content))
        headers = {"ETag": self.etag, "Content-Range": f"bytes {start}-{end - 1}/{len(self.content)}"}
        response = web.StreamResponse(status=206, headers=headers)
        response.content_length = end - start
        await response.prepare(request)
        part = self.content[start:end][:cut_after]
        self.sent += len(part)
        await response.write(part)
        if cut_after is not None and request.transport is not None:
            request.transport.close()
        return response


@pytest.fixture
async def source() -> AsyncIterator[Source]:
    """The misbehaving hub, honest until told otherwise. Its file: 12 MiB, three parts."""
    origin = Source(tensor_file(12 * MIB))
    server = web.Application()
    server.router.add_get("/api/models/acme/model/revision/main", origin.information)
    server.router.add_get("/acme/model/resolve/{commit}/{path:.+}", origin.resolve)
    server.router.add_get("/file/{path:.+}", origin.resolve)
    runner = web.AppRunner(server, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    origin.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield origin
    await runner.cleanup()


def tensor_file(size: int) -> bytes:
    """A valid safetensors file of `size` bytes with one tensor of noise."""
    import numpy as np

    length = 200
    data_bytes = size - 8 - length
    tensor = f'{{"w":{{"dtype":"U8","shape":[{data_bytes}],"data_offsets":[0,{data_bytes}]}}}}'
    noise = np.random.default_rng(size).bytes(data_bytes)
    return length.to_bytes(8, "little") + tensor.ljust(length).encode() + noise


def write_repository(root: Path, repository: str, files: Mapping[str, bytes]) -> None:
    """Put a repository under the hub's root."""
    for path, content in files.items():
        place = root / repository / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


@pytest.fixture
def publish_repository(hub_root: Path) -> Callable[[str, Mapping[str, bytes]], None]:
    """Put a repository on the hub."""
    return lambda repository, files: write_repository(hub_root, repository, files)


@pytest.fixture
def make_tensors() -> Callable[[int], bytes]:
    """Make a valid safetensors file of so many bytes."""
    return tensor_file
