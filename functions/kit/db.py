"""PostgreSQL: a pool that opens at first use, transactions, and SQL kept in `queries.sql`.

Every function's thin edge to its rows. A database that does not answer is bad luck, so it becomes `Retry` (503).
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from functions.kit.problem import Reject, Retry
from functions.kit.settings import Secret

if TYPE_CHECKING:
    import asyncpg

# A function instance takes at most this many of the server's connections; beyond it, calls wait.
POOL_SIZE: Final = 8
# How long a call waits for a connection, or for the server to accept one, before it answers 503.
ACQUIRE_TIMEOUT_S: Final = 5.0
# A statement of ours touches rows by key: one that runs longer is stuck behind a lock.
STATEMENT_TIMEOUT_S: Final = 10.0
RETRY_AFTER_S: Final = 2.0
# asyncpg's own default; every statement of ours fits.
PREPARED_STATEMENTS: Final = 100

_NAME: Final = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


class Queries:
    """The named statements of one `queries.sql`, each an attribute; a wrong name fails at once."""

    def __init__(self, statements: dict[str, str]) -> None:
        self._statements = statements

    def __getattr__(self, name: str) -> str:
        try:
            return self._statements[name]
        except KeyError:
            raise AttributeError(f"queries.sql has no statement named {name}") from None

    def __iter__(self) -> Any:
        return iter(self._statements)


def queries(module_file: str) -> Queries:
    """Load the `queries.sql` that lies beside `module_file`: statements that start with `-- name: word`."""
    text = Path(module_file).with_name("queries.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return Queries({name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)})


class Database:
    """A lazily opened connection pool. Rows come back as asyncpg records (mappings by column name).

    PgBouncer in transaction mode may stand in between (docs/decisions/0006-pgbouncer.md): no statement changes a session.
    """

    def __init__(self, url: Secret, *, pool_size: int = POOL_SIZE) -> None:
        self._url = url
        self._pool_size = pool_size
        self._pool: asyncpg.Pool | None = None
        self._pooled: bool | None = None
        self._opening = asyncio.Lock()

    async def fetch(self, sql: str, *args: object) -> list[Any]:
        """All rows."""
        async with self.connection() as connection:
            return list(await connection.fetch(sql, *args))

    async def fetchrow(self, sql: str, *args: object) -> Any:
        """The first row, or None."""
        async with self.connection() as connection:
            return await connection.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: object) -> Any:
        """The first column of the first row, or None."""
        async with self.connection() as connection:
            return await connection.fetchval(sql, *args)

    async def execute(self, sql: str, *args: object) -> str:
        """Run one statement; answers PostgreSQL's command tag."""
        async with self.connection() as connection:
            return str(await connection.execute(sql, *args))

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """One transaction on one connection, committed at the end and rolled back by any exception."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A pooled connection.

        Raises Retry when the server cannot be reached or goes away in between, Reject for a value that it cannot hold.
        """
        with _in_two_words():
            pool = await self._open()
            async with pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                yield connection

    async def ping(self) -> None:
        """For `/readyz`: the server answers."""
        await self.fetchval("SELECT 1")

    async def close(self) -> None:
        """Close the pool, if it was ever opened."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    async def _open(self) -> Any:
        async with self._opening:
            if self._pool is None:
                self._pool = await self._create()
            return self._pool

    async def _create(self) -> Any:
        import asyncpg

        return await asyncpg.create_pool(
            self._url.reveal(),
            min_size=0,
            max_size=self._pool_size,
            timeout=ACQUIRE_TIMEOUT_S,
            command_timeout=STATEMENT_TIMEOUT_S,
            connect=self._connect,
            init=_speak_json,
            reset=_nothing_to_reset,
        )

    async def _connect(self, *args: Any, **kwargs: Any) -> Any:
        """Statements are prepared ahead unless a pooler hands each transaction to another connection of the server."""
        import asyncpg

        connection = await asyncpg.connect(
            *args, statement_cache_size=0 if self._pooled else PREPARED_STATEMENTS, **kwargs
        )
        if self._pooled is None:
            self._pooled = await _is_pooled(connection)
            if self._pooled:
                await connection.close()
                return await self._connect(*args, **kwargs)
        return connection


async def _is_pooled(connection: Any) -> bool:
    """Whether what we are connected to is another process than the one that answers.

    A pooler makes up the process id that it tells a client at first. The answer is the number of rows in the command tag:
    a query without arguments is prepared nowhere.
    """
    tag = await connection.execute(f"SELECT WHERE pg_backend_pid() = {int(connection.get_server_pid())}")
    return str(tag) == "SELECT 0"


async def _nothing_to_reset(_: Any) -> None:
    """No statement of ours leaves anything in a session; asyncpg's own RESET would cost each call a round trip.

    asyncpg rolls an open transaction back before it calls this.
    """


async def _speak_json(connection: Any) -> None:
    """JSON columns travel as Python values."""
    import msgspec

    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name,
            schema="pg_catalog",
            encoder=lambda value: msgspec.json.encode(value).decode(),
            decoder=msgspec.json.decode,
        )


@contextlib.contextmanager
def _in_two_words() -> Any:
    """Bad luck becomes Retry, a value that no column can hold becomes Reject; the rest is a bug and stays as it is."""
    import asyncpg

    bad_luck = (
        OSError,
        TimeoutError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        asyncpg.PostgresConnectionError,
        asyncpg.InsufficientResourcesError,
        # Shut down, killed, still starting, cancelled.
        asyncpg.OperatorInterventionError,
        # A deadlock or a serialisation failure: the same again works.
        asyncpg.TransactionRollbackError,
        # We were led to a server that is no longer the primary.
        asyncpg.ReadOnlySQLTransactionError,
        asyncpg.PostgresSystemError,
        # An operator lets nobody into the database for a while.
        asyncpg.ObjectNotInPrerequisiteStateError,
    )
    unstorable = (
        # NUL in a text, half a character, a text or a number that is too long, a key that no index can hold.
        asyncpg.CharacterNotInRepertoireError,
        asyncpg.UntranslatableCharacterError,
        asyncpg.StringDataRightTruncationError,
        asyncpg.NumericValueOutOfRangeError,
        asyncpg.ProgramLimitExceededError,
    )
    try:
        yield
    except unstorable as error:
        raise Reject(f"it has a value that cannot be stored ({type(error).__name__})") from error
    except bad_luck as error:
        if isinstance(error, ValueError):
            # asyncpg's own refusal of an argument, an InterfaceError all the same.
            raise Reject(f"it has a value that cannot be stored ({type(error).__name__})") from error
        raise Retry(RETRY_AFTER_S, f"PostgreSQL does not answer ({type(error).__name__}); try again") from error
