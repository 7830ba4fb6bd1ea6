"""Real servers for every integration test: PostgreSQL and SeaweedFS, started once, as the laptop runtime starts them.

    postgres_server   the running server (session)
    database_url      a fresh, migrated database of this test alone
    empty_database    a fresh database without any table
    s3_endpoint       endpoint, region, access_key, secret_key, bucket of the running S3 (session; choose your own keys)
    objects           the kit's `S3Objects` on it

Fixtures are synchronous and run their own event loop, so they work for tests of either kind.
"""

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import asyncpg
import pytest

from functions.kit.db import Database
from functions.kit.migrate import migrate
from functions.kit.objects import S3Objects
from functions.kit.settings import Secret
from kn_model.local import child
from kn_model.local.data import account
from kn_model.local.data.postgres import Postgres
from kn_model.local.data.seaweed import Seaweed

TEMPLATE = "migrated"
# Nothing here outlives the run, and databases of seconds are not worth a vacuum.
FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}


class Forgetful(Postgres):
    """A server that may lose what it committed when it is killed. Tests of kills start a `Postgres` of their own."""

    def _server(self, programs: Path, who: account.Account) -> child.Command:
        """As the laptop's, and without waiting for the disk."""
        command = super()._server(programs, who)
        return replace(command, argv=[*command.argv, *(f"-c{name}={value}" for name, value in FORGETFUL.items())])


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that both servers keep their files in."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def postgres_server(servers: Path) -> Iterator[Postgres]:
    """A PostgreSQL of this test run, with a migrated database to copy."""
    yield from migrated(Forgetful(servers / "postgres", servers / "postgres.log", say=lambda _: None))


def migrated(server: Postgres) -> Iterator[Postgres]:
    """Start a server, make the database that `database_url` copies, and stop it in the end."""

    async def start() -> None:
        await server.start()
        await _create(server.url, TEMPLATE)
        database = Database(Secret(_named(server.url, TEMPLATE)))
        await migrate(database)
        await database.close()

    with asyncio.Runner() as runner:
        runner.run(start())
        yield server
        runner.run(server.stop())


@pytest.fixture
def database_url(postgres_server: Postgres) -> Iterator[str]:
    """The address of a migrated database that no other test sees."""
    yield from _database(postgres_server.url, TEMPLATE)


@pytest.fixture
def empty_database(postgres_server: Postgres) -> Iterator[str]:
    """The address of a database without tables."""
    yield from _database(postgres_server.url, "template1")


@pytest.fixture(scope="session")
def s3_endpoint(servers: Path) -> Iterator[dict[str, str]]:
    """How to reach the S3 of this test run; its bucket exists."""
    server = Seaweed(servers / "s3", servers / "s3.log")
    with asyncio.Runner() as runner:
        runner.run(server.start())
        yield asdict(server.credentials)
        runner.run(server.stop())


@pytest.fixture
def objects(s3_endpoint: dict[str, str]) -> S3Objects:
    """The kit's objects on that S3."""
    return S3Objects(
        s3_endpoint["endpoint"],
        s3_endpoint["region"],
        Secret(s3_endpoint["access_key"]),
        Secret(s3_endpoint["secret_key"]),
        s3_endpoint["bucket"],
    )


def _database(server_url: str, template: str) -> Iterator[str]:
    """Copy a database for one test, drop it after, whoever is still connected."""
    name = f"test_{secrets.token_hex(6)}"
    asyncio.run(_create(server_url, name, template))
    yield _named(server_url, name)
    asyncio.run(_drop(server_url, name))


async def _drop(server_url: str, name: str) -> None:
    """Whoever is connected is thrown out."""
    await _execute(server_url, f'DROP DATABASE "{name}" WITH (FORCE)')


async def _create(server_url: str, name: str, template: str = "template1") -> None:
    await _execute(server_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')


async def _execute(server_url: str, statement: str) -> None:
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _named(server_url: str, database: str) -> str:
    """The same server, another database."""
    return f"{server_url.rpartition('/')[0]}/{database}"
