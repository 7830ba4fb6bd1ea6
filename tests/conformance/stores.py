"""The two databases that `test_stores` compares: the simulation's in-memory one, and a real PostgreSQL."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

import asyncpg

from functions.kit.db import _speak_json
from kn_model.local.data.postgres import Postgres
from tests.simulation import statements
from tests.simulation.postgres import Pool, Server
from tests.simulation.store import Store

# Columns of wall-clock time that the statements compare with now().
TIMES = (("outbox", ("due_at",)), ("broker.owed", ("due_at", "scheduled_at")))
SESSIONS = 8


class Database(Protocol):
    """A database with the tables of the kit and of the broker.

    pool, plain: asyncpg's or in its shape, as the kit opens one (JSON as values) and as the broker does.
    """

    pool: Any
    plain: Any

    async def set_clock(self, seconds: float) -> None:
        """The server's wall clock jumps by so much, and everything written stays as it was written."""

    async def crash(self) -> None:
        """Immediate stop and start; `pool` is a new one afterwards."""


@dataclass
class InMemory:
    """The simulation's."""

    server: Server
    pool: Any
    plain: Any

    async def set_clock(self, seconds: float) -> None:
        """Its clock is a number."""
        self.server.clock_s += seconds

    async def crash(self) -> None:
        """As the simulation does it."""
        self.server.stop_immediately()
        self.server.start()
        self.pool = self.plain = Pool(self.server, SESSIONS)


@dataclass
class Real:
    """PostgreSQL."""

    server: Postgres
    name: str
    pool: Any
    plain: Any

    async def set_clock(self, seconds: float) -> None:
        """Nobody sets the machine's clock for a test: what was written moves the other way instead."""
        for table, columns in TIMES:
            if await self.pool.fetchval("SELECT to_regclass($1)", table) is not None:
                changed = ", ".join(f"{column} = {column} - make_interval(secs => $1)" for column in columns)
                await self.pool.execute(f"UPDATE {table} SET {changed}", seconds)  # noqa: S608 - our own names

    async def crash(self) -> None:
        """SIGQUIT is the immediate stop."""
        assert self.server.process is not None
        os.kill(self.server.process.pid, signal.SIGQUIT)
        await asyncio.to_thread(self.server.process.wait)
        self.pool.terminate()
        self.plain.terminate()
        await self.server.start()
        self.pool, self.plain = (
            await _connect(self.server, self.name, init=_speak_json),
            await _connect(self.server, self.name),
        )


def in_memory() -> InMemory:
    """A fresh one."""
    random = Random(1)  # noqa: S311 - to be repeated, not to be secret
    server = Server(Store(random), random, statements.by_text())
    pool = Pool(server, SESSIONS)  # what JSON is, its statements know
    return InMemory(server, pool, pool)


@asynccontextmanager
async def real(server: Postgres, url: str) -> AsyncIterator[Real]:
    """A migrated database of a running server."""
    name = url.rpartition("/")[2]
    database = Real(server, name, await _connect(server, name, init=_speak_json), await _connect(server, name))
    yield database
    await database.pool.close()
    await database.plain.close()


async def _connect(server: Postgres, name: str, init: Any = None) -> Any:
    url = f"{server.url.rpartition('/')[0]}/{name}"
    return await asyncpg.create_pool(url, min_size=0, max_size=SESSIONS, init=init)
