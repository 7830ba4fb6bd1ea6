"""What a run stands on: real PostgreSQL and SeaweedFS, the hostile hub, a Broker that comes again, function processes.

The function is spoken to as the Broker speaks to it. What it publishes is delivered, at least once; a delivery that failed comes
again soon, where a Broker would take a second or more.
"""

import asyncio
import contextlib
import hashlib
import itertools
import secrets
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout, web

from functions.kit import events
from functions.kit.db import Database
from functions.kit.events import TICK, FileRequested, ModelRequested
from functions.kit.migrate import migrate
from functions.kit.objects import S3Objects
from functions.kit.settings import Secret
from kn_model.local import ports
from kn_model.local.data.postgres import Postgres
from kn_model.local.data.seaweed import Seaweed
from tests.deliveries import ENVIRONMENT, delivered, signed
from tests.faults.hostile import MIB, Hostile, Shared
from tests.faults.worker import Function

# S3's smallest part.
PART_BYTES: Final = 5 * MIB
DELIVERERS: Final = 8
AGAIN_S: Final = 0.05
# No model takes this long unless something hangs.
PATIENCE_S: Final = 120.0
ENDS: Final = ("available", "failed")
_TYPES: Final = (ModelRequested.TYPE, FileRequested.TYPE, TICK)
# Whatever holds something for a while: an instance that was killed gives it back at once, instead of seconds later.
_LEASES: Final = (
    "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' "
    "AND column_name IN ('lease_until', 'until', 'due_at', 'updated_at') AND table_name = ANY ($1)"
)
_LEASED: Final = ["model_files", "model_records", "stretch_leases", "blobs", "inbox_claims", "outbox"]


class Hangs(Exception):
    """A model does not come to its end."""


@dataclass
class Stage:
    """One database, one bucket, instances of the function; `ask` asks for a file of the hub, `ended` waits for its end."""

    db: Any
    objects: S3Objects
    hub: Hostile
    instances: Sequence[Function]
    queue: deque[tuple[dict[str, str], bytes]] = field(default_factory=deque)
    statuses: Counter[int] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _ticks: Any = field(default_factory=itertools.count)
    _turns: Any = field(default_factory=itertools.count)

    async def ask(self, repository: str) -> str:
        """A request for the hub's `acme/<repository>`, as POST /models writes it; answers its uuid."""
        model = str(uuid.uuid4())
        await self.db.execute(
            "INSERT INTO model_records (uuid, model_name, hf_name, source, actor) VALUES ($1, $2, $3, $4, 'olga')",
            model,
            f"{repository}-{model[:8]}",
            f"acme/{repository}",
            f"hf://acme/{repository}",
        )
        event = ModelRequested(model)
        self._emit(event, msgspec.json.encode(event))
        return model

    def tick(self) -> None:
        """A minute has passed."""
        attributes = {
            "ce-id": f"tick-{next(self._ticks)}",
            "ce-source": "/ping",
            "ce-type": TICK,
            "ce-specversion": "1.0",
        }
        self.queue.append(({**attributes, "content-type": "application/json"}, b"{}"))

    async def status(self, model: str) -> Any:
        """The model's row."""
        return await self.db.fetchrow("SELECT status, error_code, error FROM model_records WHERE uuid = $1", model)

    async def ended(self, model: str) -> Any:
        """The model's row, when it is available or failed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    row = await self.status(model)
                    if row["status"] in ENDS:
                        return row
                    await asyncio.sleep(0.02)
        files = await self.db.fetch("SELECT * FROM model_files WHERE model_uuid = $1", model)
        raise Hangs(f"{model} is {dict(row)}: {[dict(each) for each in files]}")

    async def inspect(self, model: str, file: Shared) -> None:
        """Note what is wrong with what was published of the model: bytes, sizes, or that anything was at all."""
        manifest = await self.objects.get(f"manifests/{model}.json")
        if (await self.status(model))["status"] == "failed":
            if manifest is not None:
                self.wrong.append(f"{model} failed and has a manifest")
            return
        (listed,) = msgspec.json.decode(manifest or b'{"files": []}')["files"]
        key = listed.get("key") or f"models/{model}/{listed['path']}"
        if await self.objects.get(key) != file.content:
            self.wrong.append(f"{model}: {key} has other bytes than the source")

    async def sweep(self) -> None:
        """Note what lies in the bucket under a digest that is not its own, and uploads that the collector leaves behind."""
        for entry in await self.objects.keys("blobs/sha256/"):
            data = await self.objects.get(entry.key) or b""
            if hashlib.sha256(data).hexdigest() != entry.key.rpartition("/")[2]:
                self.wrong.append(f"{entry.key} has other bytes than its name says")
        await self.forget_leases()
        self.tick()
        await self.quiet()
        self.wrong += [f"upload left behind: {key}" for key, _ in await self.objects.uploads("")]

    async def quiet(self) -> None:
        """Until nothing waits to be delivered."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if not self.queue:
                    await asyncio.sleep(4 * AGAIN_S)
                    if not self.queue:
                        return
                await asyncio.sleep(AGAIN_S)

    async def forget_leases(self) -> None:
        """As if minutes had passed: whoever held something is gone, and what has stalled has done so for long."""
        for row in await self.db.fetch(_LEASES, _LEASED):
            name, column = row["table_name"], row["column_name"]
            await self.db.execute(
                f"UPDATE {name} SET {column} = now() - interval '90 seconds' "  # noqa: S608  # names of our own schema
                f"WHERE {column} > now() - interval '90 seconds'"
            )

    async def deliver(self, session: ClientSession) -> None:
        """Deliver what is queued, for ever."""
        while True:
            if not self.queue:
                await asyncio.sleep(AGAIN_S / 5)
                continue
            headers, data = self.queue.popleft()
            status = await self._post(session, headers, data)
            self.statuses[status] += 1
            if status in {0, 404, 409, 429} or status >= 500:
                await asyncio.sleep(AGAIN_S)
                self.queue.append((headers, data))
            elif status >= 400:
                self.refused.append(f"{status}: {headers['ce-type']} {data!r}")

    async def _post(self, session: ClientSession, headers: Mapping[str, str], data: bytes) -> int:
        """To each instance in turn."""
        instance = self.instances[next(self._turns) % len(self.instances)]
        try:
            async with session.post(instance.url, data=data, headers=delivered(headers)) as response:
                await response.read()
                return response.status
        except (ClientError, OSError, TimeoutError):
            return 0

    async def accept(self, request: web.Request) -> web.Response:
        """The Broker's ingress."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        kept = {name: value for name, value in headers.items() if name.startswith("ce-") or name == "content-type"}
        if kept["ce-type"] in _TYPES:
            self.queue.append((kept, await request.read()))
        return web.Response(status=202)

    def _emit(self, event: events.Event, data: bytes) -> None:
        attributes = events.headers(
            secrets.token_hex(8), "/torpor/download", event.TYPE, event.subject, {"actor": "olga"}
        )
        self.queue.append(({k: v for k, v in signed(attributes, data).items() if k != "Kn-Namespace"}, data))


@contextlib.asynccontextmanager
async def servers(folder: Path) -> AsyncIterator[tuple[Postgres, Seaweed]]:
    """Real PostgreSQL and SeaweedFS in `folder`."""
    postgres = Postgres(folder / "postgres", folder / "postgres.log", say=lambda _: None)
    seaweed = Seaweed(folder / "s3", folder / "s3.log")
    await asyncio.gather(postgres.start(), seaweed.start())
    try:
        yield postgres, seaweed
    finally:
        await asyncio.gather(postgres.stop(), seaweed.stop())


@contextlib.asynccontextmanager
async def stage(
    postgres: Postgres, seaweed: Seaweed, hub: Hostile, name: str, instances: int = 1
) -> AsyncIterator[Stage]:
    """A stage of its own on shared servers: a database and a bucket called `name`, and instances that run."""
    s3 = seaweed.credentials
    url = f"{postgres.url.rpartition('/')[0]}/{name}"
    await _prepare(postgres.url, url, name)
    ingress, *own = ports.free(1 + instances)
    environment = {
        **ENVIRONMENT,
        "TORPOR_DATABASE_URL": url,
        "TORPOR_S3_ENDPOINT": s3.endpoint,
        "TORPOR_S3_BUCKET": name,
        "TORPOR_S3_ACCESS_KEY": s3.access_key,
        "TORPOR_S3_SECRET_KEY": s3.secret_key,
        "TORPOR_HF_ENDPOINT": hub.url,
        "TORPOR_PART_BYTES": str(PART_BYTES),
        "TORPOR_STALL_SECONDS": "2",
        "TORPOR_BROKER_URL": f"http://127.0.0.1:{ingress}/",
    }
    bucket = S3Objects(s3.endpoint, s3.region, Secret(s3.access_key), Secret(s3.secret_key), name)
    await bucket._call("create_bucket")  # nothing of ours makes buckets
    pool = await asyncpg.create_pool(url, min_size=0, max_size=4)
    made = Stage(pool, bucket, hub, [Function(environment, port) for port in own])
    for instance in made.instances:
        instance.start()
    async with _broker(made, ingress), ClientSession(timeout=ClientTimeout(total=PATIENCE_S)) as session:
        work = [asyncio.create_task(made.deliver(session)) for _ in range(DELIVERERS)]
        try:
            yield made
        finally:
            for instance in made.instances:
                instance.kill()
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await pool.close()


async def _prepare(server: str, url: str, name: str) -> None:
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()
    db = Database(Secret(url))
    await migrate(db)
    await db.execute("INSERT INTO users (username, password_hash, role) VALUES ('olga', 'none', 'operator')")
    await db.close()


@contextlib.asynccontextmanager
async def _broker(made: Stage, port: int) -> AsyncIterator[None]:
    ingress = web.Application()
    ingress.router.add_post("/", made.accept)
    runner = web.AppRunner(ingress, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


def summary(stages: Sequence[Stage]) -> list[str]:
    """What was found wrong on any of them."""
    return [line for each in stages for line in (*each.wrong, *each.refused)]
