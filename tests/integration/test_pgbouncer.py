"""The bus and a function's handlers through a real PgBouncer in transaction mode, with fewer connections than callers."""

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from functions.kit.bus import Bus, Duplicate
from functions.kit.db import Database
from functions.kit.events import CloudEvent, ModelDeleted, ModelRequested
from functions.kit.migrate import available, migrate
from functions.kit.settings import Secret
from tests.deliveries import KEYRING
from tests.integration.serve.world import world

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
pytestmark = pytest.mark.skipif(
    PGBOUNCER is None,
    reason="there is no pgbouncer: install it with `apt-get install pgbouncer` (`task test` does, as root)",
)
# So few that every client meets connections which others have just used.
SERVER_CONNECTIONS = 2
CLIENTS = 6
# On a busy machine.
START_S = 60


@asynccontextmanager
async def pooler(database_url: str) -> AsyncIterator[str]:
    """PgBouncer before the database: the address through it."""
    with tempfile.TemporaryDirectory() as folder:
        process, address = await _started(Path(folder), database_url)
        yield address
        process.terminate()
        await process.wait()


async def _started(folder: Path, database_url: str) -> tuple[asyncio.subprocess.Process, str]:
    at = urlsplit(database_url)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n* = host={at.hostname} port={at.port} user={at.username} password={at.password}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = transaction\ndefault_pool_size = {SERVER_CONNECTIONS}\nlogfile = {folder / 'log'}\n"
    )
    account = []
    if os.geteuid() == 0:
        # It refuses to run as root.
        account = ["-u", "nobody"]
        for path in (folder, configuration):
            shutil.chown(path, "nobody")
    process = await asyncio.create_subprocess_exec(
        str(PGBOUNCER), "-q", *account, str(configuration), stderr=asyncio.subprocess.DEVNULL
    )
    address = at._replace(netloc=f"{at.username}:{at.password}@127.0.0.1:{port}").geturl()
    for _ in range(20 * START_S):
        try:
            await (await asyncpg.connect(address, statement_cache_size=0)).close()
        except OSError:
            await asyncio.sleep(0.05)
        else:
            return process, address
    raise AssertionError(f"PgBouncer does not start: {(folder / 'log').read_text()}")


@pytest.fixture
async def through(database_url: str) -> AsyncIterator[str]:
    """The address of the test's database through PgBouncer."""
    async with pooler(database_url) as address:
        yield address


class Counting:
    """A Broker that remembers what it is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []

    async def __call__(self, headers: Mapping[str, str], data: bytes) -> None:
        """Accept one event."""
        self.sent.append((headers["ce-id"], data))


async def test_the_bus_works_through_a_pooler(through: str) -> None:
    """Several processes, each with a pool of its own: every event has its effect once, every follower leaves once."""
    broker = Counting()
    databases = [Database(Secret(through)) for _ in range(CLIENTS)]
    buses = [Bus(database, "/torpor/test", broker, KEYRING) for database in databases]

    async def handle(bus: Bus, number: int) -> None:
        cause = CloudEvent(str(number), "/s", ModelRequested.TYPE, "m", {"actor": "ann"}, b"{}")
        try:
            async with bus.alone(cause), bus.transaction(cause) as unit:
                await unit.connection.fetchrow("SELECT $1::jsonb AS value", {"number": number})
                unit.emit(ModelDeleted(f"m{number}"))
        except Duplicate:
            return

    for _ in range(2):
        await asyncio.gather(*(handle(buses[number % CLIENTS], number) for number in range(60)))
    await databases[0].execute("UPDATE outbox SET due_at = now()")
    await asyncio.gather(*(bus.resend() for bus in buses))
    left = await databases[0].fetchval("SELECT count(*) FROM outbox")
    for database in databases:
        await database.close()
    assert (60, 60, 0) == (len(broker.sent), len(set(broker.sent)), left)


async def test_a_function_works_through_a_pooler(through: str, tmp_path: Path) -> None:
    """From the request over the event to the Knative Service, and a tick."""
    async with world(through, tmp_path) as serve:
        await serve.running()
        assert (await serve.status("smol"))[0] == "deploying"
        assert await serve.tick() == 204


async def test_the_schema_is_made_through_a_pooler(empty_database: str) -> None:
    """The setup Job's lock and its lock_timeout belong to the transaction, so two at once are one after the other."""
    async with pooler(empty_database) as address:
        databases = [Database(Secret(address)) for _ in range(2)]
        applied = await asyncio.gather(*(migrate(database) for database in databases))
        for database in databases:
            await database.close()
    assert [[], [version for version, _ in available()]] == sorted(applied)


async def test_without_a_pooler_statements_are_prepared_ahead(database_url: str) -> None:
    """The second time, a statement costs one round trip and no planning."""
    database = Database(Secret(database_url))
    await database.fetchval("SELECT $1::int", 1)
    prepared = await database.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT $1::int'")
    await database.close()
    assert 1 == prepared
