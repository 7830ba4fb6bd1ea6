"""Our side: instances of the function `download` as processes, PostgreSQL, and a broker that spreads events over them.

async with ours(folder, hub, s3, count=1) as side:
spent = await side.pull("first")
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import psutil
from aiohttp import web

from functions.download.pulls import Pulls
from functions.download.requests import PullRequest
from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.events import FileRequested, ModelAvailable, ModelFailed, ModelRequested
from functions.kit.migrate import migrate
from functions.kit.settings import Secret
from kn_model.local import ports
from kn_model.local.data.postgres import Postgres
from tests import deliveries
from tests.bench.download.processes import ROOT, Spent, cpu_of, family, peak_of, written_by

# containerConcurrency of knative/base/download/service.yaml.
CONCURRENCY: Final = 4
WAIT_S: Final = 600.0
_WANTED: Final = {ModelRequested.TYPE, FileRequested.TYPE}


@dataclass
class Instance:
    """One function process. busy: events that it works on."""

    process: subprocess.Popen[bytes]
    url: str
    busy: int = 0

    def family(self) -> list[psutil.Process]:
        """The process and its workers: the framework serves from a child."""
        return family(self.process.pid)


@dataclass
class Side:
    """The function at work."""

    db: Database
    postgres: Postgres
    instances: list[Instance]
    session: aiohttp.ClientSession
    queue: asyncio.Queue[tuple[dict[str, str], bytes]] = field(default_factory=asyncio.Queue)
    ended: dict[str, asyncio.Future[str]] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def publish(self, headers: Mapping[str, str], data: bytes) -> None:
        """The broker's ingress."""
        kind, subject = headers["ce-type"], headers["ce-subject"]
        if kind in {ModelAvailable.TYPE, ModelFailed.TYPE} and subject in self.ended:
            self.ended[subject].set_result(kind)
        elif kind in _WANTED:
            self.queue.put_nowait((dict(headers), data))

    async def pull(self, name: str) -> tuple[Spent, dict[str, object]]:
        """Pull the hub's model; answers what that took, and the row of the model."""
        bus = Bus(self.db, "/torpor/download", self.publish, deliveries.KEYRING)
        before_cpu, before_disk = self._cpu(), self._written()
        started = time.monotonic()
        record = await Pulls(self.db, bus, (), ()).pull(PullRequest(source="hf://acme/model", name=name), "bench")
        self.ended[record["uuid"]] = asyncio.get_running_loop().create_future()
        row = await self._model(record["uuid"])
        if row["status"] == "downloading":
            await asyncio.wait_for(self.ended[record["uuid"]], WAIT_S)
        spent = Spent(time.monotonic() - started, self._cpu() - before_cpu, self._written() - before_disk)
        row = await self._model(record["uuid"])
        if row["status"] != "available":
            raise RuntimeError(f"the pull ended as {row['status']}: {row['error']}")
        return spent, row

    async def forget(self) -> None:
        """Nothing of this round helps the next one; the bucket is the caller's matter."""
        await self.db.execute("TRUNCATE model_records, blobs, outbox, inbox CASCADE")

    async def dispatch(self) -> None:
        """Give events to the instance with the least to do, as Knative's activator does."""
        while True:
            headers, data = await self.queue.get()
            # The least busy changes with every answer; what is waited for is any of them.
            while (least := min(self.instances, key=lambda instance: instance.busy)).busy >= CONCURRENCY:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            least.busy += 1
            task = asyncio.create_task(self._deliver(least, headers, data))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    @property
    def peak(self) -> int:
        """The most bytes that any instance had."""
        return max(peak_of(*instance.family()) for instance in self.instances)

    async def _deliver(self, to: Instance, headers: dict[str, str], data: bytes) -> None:
        sent = deliveries.delivered(headers)
        async with self.session.post(f"{to.url}/events", data=data, headers=sent) as answer:
            status = answer.status
        to.busy -= 1
        if status in {409, 429, 503}:
            await asyncio.sleep(0.2)
            self.queue.put_nowait((headers, data))

    async def _model(self, uuid: str) -> dict[str, object]:
        return dict(await self.db.fetchrow("SELECT * FROM model_records WHERE uuid = $1", uuid))

    def _cpu(self) -> float:
        """Ours and PostgreSQL's, since the state is part of the work."""
        assert self.postgres.process is not None
        with suppress(psutil.NoSuchProcess):
            return sum(cpu_of(instance.family()) for instance in self.instances) + cpu_of(
                family(self.postgres.process.pid)
            )
        return self._cpu()

    def _written(self) -> int:
        return sum(written_by(instance.family()) for instance in self.instances)


@asynccontextmanager
async def ours(folder: Path, hub: str, s3: Mapping[str, str], count: int = 1) -> AsyncIterator[Side]:
    """`count` instances, warm: each has fetched something already, as one does that serves a stream of events."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    postgres = Postgres(folder / "postgres", folder / "postgres.log", say=lambda _: None)
    await postgres.start()
    db = Database(Secret(postgres.url))
    await migrate(db)
    await db.execute("INSERT INTO users (username, password_hash, role) VALUES ('bench', 'none', 'operator')")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        side = Side(db, postgres, [], session)
        ingress = await _ingress(side)
        environment = _environment(postgres.url, hub, s3, ingress.addresses[0][1])
        dispatching = asyncio.create_task(side.dispatch())
        try:
            for number in range(count):
                side.instances.append(await _start(environment, folder / f"instance-{number}.log", session))
            yield side
        finally:
            for task in (dispatching, *side.tasks):
                task.cancel()
            await asyncio.gather(dispatching, *side.tasks, return_exceptions=True)
            for instance in side.instances:
                for process in instance.family():
                    process.kill()
                instance.process.wait()
            await ingress.cleanup()
            await db.close()
            await postgres.stop()


async def _ingress(side: Side) -> web.AppRunner:
    async def accept(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        kept = {name: value for name, value in headers.items() if name.startswith("ce-") or name == "content-type"}
        await side.publish(kept, await request.read())
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/", accept)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


async def _start(environment: Mapping[str, str], log: Path, session: aiohttp.ClientSession) -> Instance:
    (port,) = ports.free(1)
    command = [sys.executable, "-m", "functions_framework", "--asgi", "--source", "functions/download/main.py"]
    options = ["--target", "handle", "--host", "127.0.0.1", "--port", str(port)]
    process = await asyncio.to_thread(_process, [*command, *options], environment, log)
    instance = Instance(process, f"http://127.0.0.1:{port}")
    while process.poll() is None:
        with suppress(aiohttp.ClientError):
            async with session.get(f"{instance.url}/readyz") as answer:
                if answer.status == 200:  # OK
                    return instance
        await asyncio.sleep(0.05)
    raise RuntimeError(f"the function does not start: {log}")


def _process(command: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(command, env=dict(environment), cwd=ROOT, stdout=output, stderr=output)


def _environment(database: str, hub: str, s3: Mapping[str, str], broker_port: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        **deliveries.ENVIRONMENT,
        "TORPOR_DATABASE_URL": database,
        "TORPOR_S3_ENDPOINT": s3["endpoint"],
        "TORPOR_S3_BUCKET": s3["bucket"],
        "TORPOR_S3_ACCESS_KEY": s3["access_key"],
        "TORPOR_S3_SECRET_KEY": s3["secret_key"],
        "TORPOR_HF_ENDPOINT": hub,
        "TORPOR_BROKER_URL": f"http://127.0.0.1:{broker_port}/",
    }
