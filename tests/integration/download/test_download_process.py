"""The function as the process that Knative runs: its memory, and what a kill -9 costs."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from aiohttp import web

from functions.download.digest import Digest
from kn_model.local import ports
from tests.deliveries import ENVIRONMENT
from tests.integration.processes import answers

ROOT = Path(__file__).parents[3]
MIB = 1024 * 1024


@dataclass
class Function:
    """A running function process that gets the world's events and publishes into its broker."""

    environment: dict[str, str]
    port: int
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process and wait until it answers."""
        arguments = ["--asgi", "--source", "functions/download/main.py", "--target", "handle", "--port", str(self.port)]
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "functions_framework", *arguments, "--host", "127.0.0.1", env=self.environment, cwd=ROOT,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}") as client:
            await answers(self.process, client)

    async def kill(self) -> None:
        """Kill -9."""
        assert self.process is not None
        if self.process.returncode is None:
            for pid in self.family():
                os.kill(pid, signal.SIGKILL)
            await self.process.wait()

    def family(self) -> list[int]:
        """The process and its workers: the framework serves from a child."""
        assert self.process is not None
        workers = psutil.Process(self.process.pid).children(recursive=True)
        return [*(worker.pid for worker in workers), self.process.pid]

    def written_mib(self) -> float:
        """What the processes sent to a disk."""
        fields = [Path(f"/proc/{pid}/io").read_text().split("write_bytes: ")[1] for pid in self.family()]
        return sum(int(field.split()[0]) for field in fields) / MIB

    def peak_mib(self) -> int:
        """The sum of the largest resident sizes that the processes had."""
        return sum(_peak_mib(pid) for pid in self.family())


@pytest.fixture
async def start_function() -> AsyncIterator[Callable[[Any], Any]]:
    """Start the function on a world's database, bucket and hub; the world delivers its events to it from then on."""
    running: list[Function] = []
    sinks: list[web.AppRunner] = []
    clients: list[httpx.AsyncClient] = []

    async def start(world: Any) -> Function:
        sink = await _sink(world.broker)
        sinks.append(sink)
        function = Function(_environment(world.settings, sink.addresses[0][1]), ports.free(1)[0])
        running.append(function)
        await function.start()
        world.events = httpx.AsyncClient(base_url=f"http://127.0.0.1:{function.port}")
        clients.append(world.events)
        return function

    yield start
    for function in running:
        await function.kill()
    for client in clients:
        await client.aclose()
    for sink in sinks:
        await sink.cleanup()


async def _sink(broker: Any) -> web.AppRunner:
    """The Broker's ingress: takes events over HTTP."""

    async def accept(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        kept = {name: value for name, value in headers.items() if name.startswith("ce-") or name == "content-type"}
        await broker(kept, await request.read())
        return web.Response(status=202)

    ingress = web.Application()
    ingress.router.add_post("/", accept)
    runner = web.AppRunner(ingress, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


def _environment(settings: Any, broker_port: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "TORPOR_DATABASE_URL": settings.database_url.reveal(),
        "TORPOR_S3_ENDPOINT": settings.s3_endpoint,
        "TORPOR_S3_BUCKET": settings.s3_bucket,
        "TORPOR_S3_ACCESS_KEY": settings.s3_access_key.reveal(),
        "TORPOR_S3_SECRET_KEY": settings.s3_secret_key.reveal(),
        "TORPOR_HF_ENDPOINT": settings.hf_endpoint,
        "TORPOR_PART_BYTES": str(settings.part_bytes),
        "TORPOR_BROKER_URL": f"http://127.0.0.1:{broker_port}/",
        "TORPOR_EVENT_KEY": ENVIRONMENT["TORPOR_EVENT_KEY"],
    }


def _peak_mib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


async def test_neither_memory_nor_disk_grows_with_the_model(
    make_world: Callable[..., Any],
    hub: Any,
    start_function: Callable[[Any], Any],
    publish_repository: Callable[[str, Mapping[str, bytes]], None],
    make_tensors: Callable[[int], bytes],
) -> None:
    """A model of 288 MiB in three shards passes through a process that never has 250 MiB and writes no file."""
    shards = {f"model-{number}.safetensors": make_tensors(96 * MIB + number) for number in range(3)}
    publish_repository("acme/large", shards)
    world = make_world(hf_endpoint=hub.url, part_bytes=8 * MIB)
    function = await start_function(world)
    record = await world.pull("hf://acme/large")
    await world.deliver()
    peak = function.peak_mib()
    assert (await world.model(record["uuid"]))["status"] == "available"
    assert peak <= 250
    # Python may store the bytecode of modules that it sees for the first time.
    assert function.written_mib() < 8


async def test_a_killed_worker_costs_nothing_that_is_stored(
    make_world: Callable[..., Any], source: Any, start_function: Callable[[Any], Any]
) -> None:
    """Kill -9 in mid-slice: the next one takes over after the lease, fetches no stored part again, and the bytes are right."""
    third_part = asyncio.Event()

    async def hold_the_third(_: Any, request: web.Request) -> web.StreamResponse | None:
        if (request.http_range.start or 0) >= 10 * MIB:
            third_part.set()
            await asyncio.sleep(30)
        return None

    source.behave = hold_the_third
    world = make_world(hf_endpoint=source.url)
    first = await start_function(world)
    record = await world.pull("hf://acme/model")
    delivering = asyncio.create_task(world.deliver())
    await third_part.wait()
    await _until_hashed(world, 10 * MIB)
    await first.kill()
    delivering.cancel()
    source.behave = lambda *_: None
    source.asked.clear()
    await world.db.execute(
        "UPDATE model_files SET lease_until = now() - interval '2 min', updated_at = now() - interval '2 min'"
    )
    await start_function(world)
    world.broker.queue.clear()
    await world.tick()
    await world.deliver()
    assert (await world.model(record["uuid"]))["status"] == "available"
    assert source.asked == ["bytes=10485760-12582911"]
    assert await world.stored(record["uuid"]) == {"model.safetensors": source.content}
    assert await world.uploads() == []


async def _until_hashed(world: Any, size: int) -> None:
    """Until so many bytes of the file are in S3 and in the kept digest."""
    async with asyncio.timeout(60):
        while Digest.seen(await world.db.fetchval("SELECT hash_state FROM model_files")) != size:  # noqa: ASYNC110 - SQL wakes nobody
            await asyncio.sleep(0.05)
