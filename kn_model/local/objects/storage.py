"""Where the store's objects live between two runs: PostgreSQL for the runtime, memory for tests and `--dry-run`.

The store keeps everything in memory and writes each change through, before anyone sees it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kn_model.local import queries
from kn_model.local.api.errors import Unavailable
from kn_model.local.data.postgres import unreachable
from kn_model.local.objects.kinds import Object

if TYPE_CHECKING:
    import asyncpg

_SQL = queries.load(Path(__file__).with_suffix(".sql"))

Key = tuple[str, str, str]
"""Kind key (`services.serving.knative.dev`), namespace ("" for cluster-wide kinds), name."""


@dataclass(frozen=True, slots=True)
class Change:
    """What to keep under a key; no object means that it is gone."""

    key: Key
    revision: int
    obj: Object | None


class Storage(Protocol):
    """What the store needs of the world: read all once, then write changes that hold together."""

    async def load(self) -> list[Object]:
        """Every stored object."""
        ...

    async def write(self, changes: Sequence[Change]) -> None:
        """Keep all of the changes or none. Raises Unavailable."""
        ...


class MemoryStorage:
    """Keeps objects as long as the process lives; hand it to a second store to play a restart."""

    def __init__(self) -> None:
        self._texts: dict[Key, str] = {}

    async def load(self) -> list[Object]:
        """Every stored object, decoded afresh."""
        return [json.loads(text) for text in self._texts.values()]

    async def write(self, changes: Sequence[Change]) -> None:
        """Keep the changes."""
        for change in changes:
            if change.obj is None:
                self._texts.pop(change.key, None)
            else:
                self._texts[change.key] = json.dumps(change.obj)


class PostgresStorage:
    """Keeps objects in table `cluster.objects`, one row each."""

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        self._pool = pool

    async def load(self) -> list[Object]:
        """Make the table where it is missing, then read it."""
        async with self._pool.acquire() as connection:
            await connection.execute(_SQL["create"])
            rows = await connection.fetch(_SQL["load"])
        return [json.loads(row[0]) for row in rows]

    async def write(self, changes: Sequence[Change]) -> None:
        """One transaction for all changes. Unavailable while PostgreSQL is down, starts, stops or recovers."""
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                for change in changes:
                    await self._write_one(connection, change)
        except unreachable() as error:
            raise Unavailable(f"the store's database does not answer: {error}") from error

    async def _write_one(self, connection: Any, change: Change) -> None:
        if change.obj is None:
            await connection.execute(_SQL["remove"], *change.key)
        else:
            await connection.execute(_SQL["save"], *change.key, change.revision, json.dumps(change.obj))
