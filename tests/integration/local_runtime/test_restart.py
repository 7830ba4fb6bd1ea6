"""The runtime can die at any moment: nothing is left behind, nothing is lost."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kn_model.local.objects import kinds
from kn_model.local.objects.storage import PostgresStorage

SUPERVISED = Path(__file__).with_name("supervised.py")


@pytest.fixture
async def storage(empty_database: str) -> AsyncIterator[PostgresStorage]:
    """Storage in a database of this test."""
    async with asyncpg.create_pool(empty_database, min_size=1, max_size=2) as pool:
        yield PostgresStorage(pool)


async def test_objects_survive_kill_9_and_no_process_does(
    empty_database: str, storage: PostgresStorage, start_runtime: Any, tmp_path: Path
) -> None:
    """The supervisor is killed: its instance ends with it; after a restart the service is Ready, asleep, and answers."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SUPERVISED), empty_database, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    instance = int(await asyncio.wait_for(process.stdout.readline(), 30))
    process.kill()
    await process.wait()
    async with asyncio.timeout(5):
        while _alive(instance):  # noqa: ASYNC110  # another process's child cannot be waited for
            await asyncio.sleep(0.05)
    runtime = await start_runtime(tmp_path, storage)
    revision = runtime.store.get(kinds.REVISION, "torpor", "hello-00001")
    assert revision["status"]["actualReplicas"] == 0
    ready = next(one for one in revision["status"]["conditions"] if one["type"] == "Ready")
    assert ready["status"] == "True"
    assert (await runtime.get("/_svc/torpor/hello/"))["revision"] == "hello-00001"
    await runtime.stop()


async def test_stopping_ends_every_process_in_bounded_time(runtime: Any, echo: Any) -> None:
    """An orderly stop leaves no instance, although a caller still reads a stream."""
    await runtime.store.create(echo("hello"))
    await runtime.ready("hello")
    pid = (await runtime.get("/_svc/torpor/hello/"))["pid"]
    async with runtime.client.get(runtime.url + "/_svc/torpor/hello/stream?chunks=1000&gap=0.1"):
        await asyncio.wait_for(runtime.serving.stop(), 15)
    assert not _alive(pid)


async def test_deleting_a_service_ends_its_processes(runtime: Any, echo: Any) -> None:
    """Its Configuration, Route and Revisions go with it, and its address is 404."""
    await runtime.store.create(echo("hello"))
    await runtime.ready("hello")
    pid = (await runtime.get("/_svc/torpor/hello/"))["pid"]
    await runtime.store.delete(kinds.SERVICE, "torpor", "hello")
    await runtime.until(lambda: not _alive(pid), "the process ends")
    assert runtime.store.list(kinds.REVISION) == []
    assert (await runtime.status("/_svc/torpor/hello/"))[0] == 404


def _alive(pid: int) -> bool:
    """Whether a process still runs; a dead one that nobody has waited for yet does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
