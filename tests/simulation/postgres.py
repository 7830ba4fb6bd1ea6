"""A PostgreSQL of the simulation, in the shape of asyncpg: a server that can die, hang and forget, and pools of sessions.

`functions.kit.db.Database` and `kn_model.local.eventing.ledger.Ledger` run on it unchanged. A statement is known by its
text, which the real `queries.sql` and `ledger.sql` give; `statements` says what each does.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import asyncpg

from tests.simulation.loop import Process, here, outside
from tests.simulation.store import STATEMENT_TIMEOUT_S, Row, Store, Transaction

Statement = Callable[..., Awaitable[list[Row]]]
"""Takes the transaction and the statement's arguments, answers rows in column order."""

# A statement's way to the server, the work, and a write's wait for the disk: seconds at most.
LATENCY_S: Final = 0.002
FSYNC_S: Final = 0.004
# How often a commit that was being written when its session died is there afterwards, and how often a server that hung
# still does what its client has given up.
FINISHED: Final = 0.5
STILL_DONE: Final = 0.3
GONE: Final = "connection was closed in the middle of operation"


@dataclass
class Server:
    """One database server. `clock_s` is how far its wall clock is off; `cut_rate` how often a session breaks."""

    store: Store
    random: Random
    statements: Mapping[str, Statement]
    clock_s: float = 0.0
    cut_rate: float = 0.0
    up: bool = True
    hangs_until: float = 0.0
    starts: int = 0
    _numbers: Any = field(default_factory=itertools.count)
    _sessions: dict[int, "Session"] = field(default_factory=dict)

    def now(self) -> float:
        """Its wall clock, in seconds since an epoch of its own."""
        return 1e6 + asyncio.get_running_loop().time() + self.clock_s

    def begin(self) -> Transaction:
        """A new transaction."""
        return Transaction(self.store, next(self._numbers), self.now())

    def stop_immediately(self) -> None:
        """As after `pg_ctl stop -m immediate`, or a kill of all its processes."""
        self.up = False
        for session in list(self._sessions.values()):
            session.hang_up(may_finish=True)
        self.store.crash()

    def start(self) -> None:
        """Recovered: what was committed and on disk is there."""
        self.up = True
        self.starts += 1

    def connect(self) -> "Session":
        """A session. Raises what asyncpg raises when nobody listens."""
        if not self.up:
            raise ConnectionRefusedError("nobody listens")
        session = Session(self, next(self._numbers))
        self._sessions[session.number] = session
        return session

    def do_late(self, statement: Statement, args: Sequence[Any]) -> None:
        """The client of this statement has given up; the server does it when it goes on."""

        async def do() -> None:
            transaction = self.begin()
            with contextlib.suppress(asyncpg.PostgresError):
                await statement(transaction, *args)
                transaction.commit()
            transaction.roll_back()

        loop = asyncio.get_running_loop()
        loop.call_at(self.hangs_until, lambda: loop.create_task(do()) if self.up else None, context=outside())

    def forget(self, session: "Session") -> None:
        """It is closed."""
        self._sessions.pop(session.number, None)


class Session:
    """One connection, in asyncpg's words. Once it broke, everything raises."""

    def __init__(self, server: Server, number: int) -> None:
        self.number = number
        self.broken = False
        self._server = server
        self._random = server.random.random
        self._current: Transaction | None = None
        self._explicit = False
        self._committing = False

    async def fetch(self, sql: str, *args: Any) -> list[Row]:
        """All rows of one statement; outside a transaction it is one of its own."""
        statement = self._server.statements[sql]
        try:
            await self._reach()
        except TimeoutError:
            if not self._explicit and self._random() < STILL_DONE:
                self._server.do_late(statement, args)
            raise
        if self._explicit:
            assert self._current is not None
            rows = await statement(self._current, *args)
        else:
            rows = await self._alone(statement, args)
        self._may_break()
        return rows

    async def fetchrow(self, sql: str, *args: Any) -> Row | None:
        """The first row."""
        rows = await self.fetch(sql, *args)
        return rows[0] if rows else None

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """The first column of the first row."""
        row = await self.fetchrow(sql, *args)
        return None if row is None else next(iter(row.values()))

    async def execute(self, sql: str, *args: Any) -> str:
        """One statement; its command tag is of no interest here."""
        await self.fetch(sql, *args)
        return "DONE"

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Committed at the end, rolled back by any exception."""
        await self._reach()
        self._current, self._explicit = self._server.begin(), True
        try:
            yield
            await self._reach()
            await self._commit(self._current)
        except BaseException as error:
            hangs = self._server.hangs_until > asyncio.get_running_loop().time()
            if not (isinstance(error, TimeoutError) and hangs):  # else it does not know yet, and holds its locks
                self._roll_back()
            raise
        self._current, self._explicit = None, False
        self._may_break()

    def hang_up(self, *, may_finish: bool) -> None:
        """The connection is gone. A commit that the server was writing is finished or not."""
        self.broken = True
        self._server.forget(self)
        if self._current is not None and self._committing and may_finish and self._random() < FINISHED:
            self._current.commit()
        self._roll_back()

    def _roll_back(self) -> None:
        if self._current is not None:
            self._current.roll_back(asyncpg.ConnectionDoesNotExistError(GONE))
        self._current, self._explicit, self._committing = None, False, False

    async def _alone(self, statement: Statement, args: Sequence[Any]) -> list[Row]:
        self._current = transaction = self._server.begin()
        try:
            rows = await statement(transaction, *args)
            await self._commit(transaction)
        except BaseException:
            self._roll_back()
            raise
        self._current = None
        return rows

    async def _commit(self, transaction: Transaction) -> None:
        if transaction.writes and transaction.synchronous:
            self._committing = True
            await asyncio.sleep(self._random() * FSYNC_S)
            self._committing = False
        self._must_live()
        transaction.commit()

    async def _reach(self) -> None:
        """The way to the server, on which the connection can break and the server can hang."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._random() * LATENCY_S)
        self._must_live()
        if (hangs := self._server.hangs_until - loop.time()) > 0:
            await asyncio.sleep(min(hangs, STATEMENT_TIMEOUT_S))
            self._must_live()
            if hangs > STATEMENT_TIMEOUT_S:
                loop.call_at(self._server.hangs_until, lambda: self.hang_up(may_finish=False), context=outside())
                raise TimeoutError
        self._may_break()

    def _must_live(self) -> None:
        if self.broken:
            raise asyncpg.ConnectionDoesNotExistError(GONE)

    def _may_break(self) -> None:
        """Before the work is done, or after it with the answer lost."""
        if self._random() < self._server.cut_rate:
            self.hang_up(may_finish=False)
            raise asyncpg.ConnectionDoesNotExistError(GONE)


class Pool:
    """Sessions of one process, at most `size` at a time; all of them end with it."""

    def __init__(self, server: Server, size: int) -> None:
        self._server = server
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Session] = []
        self._all: dict[int, Session] = {}
        process: Process | None = here()
        if process is not None:
            process.at_death(self._die)

    @contextlib.asynccontextmanager
    async def acquire(self, *, timeout: float | None = None) -> AsyncIterator[Session]:  # noqa: ARG002 - asyncpg's shape
        """A session for the length of the block."""
        async with self._slots:
            session = self._session()
            try:
                yield session
            except TimeoutError:  # asyncpg closes a session whose statement it gave up
                session.broken = True
                raise
            finally:
                if not session.broken:
                    self._idle.append(session)

    async def fetch(self, sql: str, *args: Any) -> list[Row]:
        """One statement on any session."""
        async with self.acquire() as session:
            return await session.fetch(sql, *args)

    async def execute(self, sql: str, *args: Any) -> str:
        """One statement on any session."""
        async with self.acquire() as session:
            return await session.execute(sql, *args)

    async def close(self) -> None:
        """Close every session."""
        self._die()

    def _session(self) -> Session:
        while self._idle:
            session = self._idle.pop()
            if not session.broken:
                return session
        session = self._server.connect()
        self._all[session.number] = session
        return session

    def _die(self) -> None:
        for session in self._all.values():
            if not session.broken:
                session.hang_up(may_finish=True)
