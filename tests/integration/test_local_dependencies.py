"""PostgreSQL and SeaweedFS as the laptop runtime starts them."""

import asyncio
import contextlib
import os
import signal
import sys
import textwrap
from pathlib import Path

import asyncpg
import pytest

from functions.kit.objects import S3Objects
from functions.kit.problem import Retry
from functions.kit.settings import Secret
from kn_model.local.child import exited
from kn_model.local.data import account
from kn_model.local.data.postgres import Postgres
from kn_model.local.data.seaweed import Seaweed


async def test_each_test_gets_a_migrated_database_of_its_own(database_url: str) -> None:
    """A test finds Torpor's tables, empty."""
    connection = await asyncpg.connect(database_url)
    found = await connection.fetchval("SELECT count(*) FROM model_records")
    await connection.close()
    assert found == 0


async def test_s3_keeps_what_is_put(objects: S3Objects) -> None:
    """The bucket exists and takes writes as soon as the server counts as started."""
    await objects.put("dependencies/one", b"first")
    found = await objects.get("dependencies/one")
    assert found == b"first"


async def test_postgres_keeps_committed_rows_over_kill_9(tmp_path: Path) -> None:
    """A killed server starts again on the same address and has every committed row."""
    server = Postgres(tmp_path / "postgres", tmp_path / "log", say=lambda _: None)
    await server.start()
    address = server.url
    await _run(address, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    assert server.process is not None
    server.process.kill()
    await exited(server.process)
    await server.start()
    connection = await asyncpg.connect(address)
    kept = await connection.fetchval("SELECT n FROM kept")
    await connection.close()
    await server.stop()
    assert kept == 7


async def test_postgres_has_no_role_without_password(tmp_path: Path) -> None:
    """Neither the superuser nor a wrong password gets in."""
    server = Postgres(tmp_path / "postgres", tmp_path / "log", say=lambda _: None)
    await server.start()
    address = f"127.0.0.1:{server.port}/torpor"
    for who in ("postgres", "postgres:postgres", "torpor:wrong"):
        with pytest.raises((asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidPasswordError)):
            await asyncpg.connect(f"postgresql://{who}@{address}")
    await server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become another user")
def test_root_finds_an_account_for_private_folders() -> None:
    """A clone under /root, which no other account can enter, still gets a PostgreSQL."""
    chosen = account.choose(Path("/root"))
    assert chosen.prepare is not None


@pytest.mark.parametrize("kind", ["Postgres", "Seaweed"])
async def test_kill_9_of_the_parent_ends_the_server(kind: str, tmp_path: Path) -> None:
    """No server outlives the process that started it, however that one dies."""
    module = {"Postgres": "postgres", "Seaweed": "seaweed"}[kind]
    program = textwrap.dedent(f"""
        import asyncio, pathlib, time
        from kn_model.local.data.{module} import {kind}
        server = {kind}(pathlib.Path({str(tmp_path / "files")!r}), pathlib.Path({str(tmp_path / "log")!r}))
        asyncio.run(server.start())
        print(server.process.pid, flush=True)
        time.sleep(600)
    """)
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    orphan = os.pidfd_open(await _number(parent.stdout))
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    await asyncio.wait_for(_ended(orphan), 20)


async def test_seaweed_keeps_objects_over_kill_9(tmp_path: Path) -> None:
    """A killed S3 starts again on the same address with the objects it had acknowledged."""
    server = Seaweed(tmp_path / "s3", tmp_path / "log")
    await server.start()
    await _objects(server).put("kept", b"seven")
    assert server.process is not None
    server.process.kill()
    await exited(server.process)
    before = server.credentials
    await server.start()
    found = await _found(server, "kept")
    await server.stop()
    assert (found, server.credentials) == (b"seven", before)


async def _found(server: Seaweed, key: str) -> bytes | None:
    """An object, as soon as the volume that holds it has told the server that it is there."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(Retry):
                return await _objects(server).get(key)
            await asyncio.sleep(0.1)


def _objects(server: Seaweed) -> S3Objects:
    to = server.credentials
    return S3Objects(to.endpoint, to.region, Secret(to.access_key), Secret(to.secret_key), to.bucket)


async def _run(address: str, statements: str) -> None:
    connection = await asyncpg.connect(address)
    await connection.execute(statements)
    await connection.close()


async def _number(output: asyncio.StreamReader) -> int:
    """The first number that a program prints on a line of its own."""
    async with asyncio.timeout(60):
        async for line in output:
            if line.strip().isdigit():
                return int(line)
    raise AssertionError("the program ended without a number")


async def _ended(descriptor: int) -> None:
    """Return when the process behind a pidfd is gone."""
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(descriptor, gone.set)
    await gone.wait()
    loop.remove_reader(descriptor)
    os.close(descriptor)
