"""A function that is stopped has sent its spans: under the framework's gunicorn, which ends its worker by the signal."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from kn_model.local import ports
from tests.integration.processes import answers
from tests.integration.traces.collector import Collector, collector

ROOT = Path(__file__).parents[3]
FUNCTION = '''
"""A function with a call that takes a while."""

import asyncio
import os
import pathlib

from starlette.responses import Response
from starlette.routing import Route

from functions.kit import app, trace

trace.export(os.environ, "sleeper")


async def quick(_):
    return Response()


async def slow(_):
    pathlib.Path(os.environ["BEGUN"]).touch()
    await asyncio.sleep(1)
    return Response()


APP = app.build([Route("/quick", quick), Route("/slow", slow)], ready={})


async def handle(_):
    return APP
'''
# Longer than any test: what arrives was sent because the function was stopped.
NEVER_MS = "600000"


@pytest.fixture
def spans() -> Iterator[Collector]:
    """A collector."""
    with collector() as receiver:
        yield receiver


@asynccontextmanager
async def function(folder: Path, endpoint: str) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    """The function as Knative runs it, which answers; killed at the end if it still runs."""
    (folder / "main.py").write_text(FUNCTION)
    (port,) = ports.free(1)
    command = [sys.executable, "-m", "functions_framework", "--asgi", "--source", str(folder / "main.py")]
    environ = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": NEVER_MS}
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(*command, "--target", "handle", "--host", "127.0.0.1", "--port", str(port)),
            env={**environ, "PYTHONPATH": str(ROOT), "BEGUN": str(folder / "begun")},
            stderr=log,
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            await answers(process, client)
            yield process, client
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _begun(folder: Path) -> None:
    """Wait until the slow call is under way."""
    async with asyncio.timeout(30):
        while not (folder / "begun").exists():  # noqa: ASYNC110  # another process wakes nobody
            await asyncio.sleep(0.01)


async def _stopped(process: Process) -> None:
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.wait(), 30)


async def test_what_was_done_before_the_stop_arrives(tmp_path: Path, spans: Collector) -> None:
    """The batch would have waited for ten minutes; the function is stopped right after the call."""
    async with function(tmp_path, spans.url) as (process, client):
        await client.get("/quick")
        await _stopped(process)
    assert ["GET /quick"] == [span.name for span in spans.spans]


async def test_what_ends_after_the_stop_arrives_too(tmp_path: Path, spans: Collector) -> None:
    """A call that is under way at SIGTERM is answered, and its span is sent."""
    async with function(tmp_path, spans.url) as (process, client):
        await client.get("/quick")
        under_way = asyncio.create_task(client.get("/slow"))
        await _begun(tmp_path)
        await _stopped(process)
        assert 200 == (await under_way).status_code
    assert ["GET /quick", "GET /slow"] == [span.name for span in spans.spans]


async def test_a_first_call_under_way_is_not_lost(tmp_path: Path, spans: Collector) -> None:
    """Also when no span had ended before."""
    async with function(tmp_path, spans.url) as (process, client):
        under_way = asyncio.create_task(client.get("/slow"))
        await _begun(tmp_path)
        await _stopped(process)
        assert 200 == (await under_way).status_code
    assert ["GET /slow"] == [span.name for span in spans.spans]


async def test_a_collector_that_is_away_holds_nobody_up(tmp_path: Path) -> None:
    """Calls are answered, and the function ends by itself: its log says what was lost."""
    async with function(tmp_path, "http://127.0.0.1:9") as (process, client):
        assert 200 == (await client.get("/quick")).status_code
        await _stopped(process)
    assert "127.0.0.1" in (tmp_path / "log").read_text()
