"""Rows, transactions and row locks as PostgreSQL has them at READ COMMITTED, in memory. Called by `postgres` and its statements.

What others see is what is committed. A writer holds its rows until it ends; whoever wants them waits, skips, or is told
of a deadlock. A commit that did not wait for the disk can be undone by a crash, and with it what was committed later
without waiting: the write-ahead log is cut at its end, never in the middle.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import asyncpg

Row = dict[str, Any]
Place = tuple[str, Any]
"""A table and the key of a row in it."""

# wal_writer_delay is 200 ms; a commit that does not wait is on disk after three times that at the latest.
FLUSHED_AFTER_S: Final = 0.6
# What a client waits for an answer (functions.kit.db.STATEMENT_TIMEOUT_S): its statement is behind a lock.
STATEMENT_TIMEOUT_S: Final = 10.0
# Statements of two sessions interleave between the rows that they lock: how often, and for how long at most.
PREEMPTED: Final = 0.02
PREEMPTED_S: Final = 0.003


class Store:
    """The tables of one database server. Times are those of the loop."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.tables: dict[str, dict[Any, Row]] = {}
        self.holders: dict[Place, Transaction] = {}
        self.waiters: dict[Place, list[asyncio.Future[None]]] = {}
        self.open: dict[int, Transaction] = {}
        self._not_on_disk: list[tuple[float, list[tuple[Place, Row | None]]]] = []
        self._identity = 0
        self.watch: Callable[[Place, Row | None, Row | None], None] = lambda _, __, ___: None

    def rows(self, table: str) -> dict[Any, Row]:
        """What is committed."""
        return self.tables.setdefault(table, {})

    def next_identity(self) -> int:
        """A number that no row had before: sequences do not roll back."""
        self._identity += 1
        return self._identity

    def written(self, changes: list[tuple[Place, Row | None]], *, on_disk: bool) -> None:
        """Note what a commit replaced. One that waits for the disk takes everything before it along."""
        if on_disk:
            self._not_on_disk.clear()
        else:
            self._not_on_disk.append((asyncio.get_running_loop().time(), changes))

    def crash(self) -> None:
        """Immediate stop: what is under way is gone, and an end of what was not on disk yet."""
        for transaction in list(self.open.values()):
            transaction.roll_back(
                asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
            )
        since = asyncio.get_running_loop().time() - FLUSHED_AFTER_S
        loose = [changes for at, changes in self._not_on_disk if at > since]
        for changes in reversed(loose[self.random.randint(0, len(loose)) :]):
            for place, row in reversed(changes):
                self.put(place, row)
        self._not_on_disk.clear()

    def put(self, place: Place, row: Row | None) -> None:
        """Replace a committed row; None removes it."""
        table, key = place
        if row is None:
            self.rows(table).pop(key, None)
        else:
            self.rows(table)[key] = row


@dataclass(eq=False)
class Transaction:
    """One transaction: its own view, its locks. `now` is the database's wall clock at its begin, in seconds."""

    store: Store
    number: int
    now: float
    writes: dict[Place, Row | None] = field(default_factory=dict)
    held: list[Place] = field(default_factory=list)
    blocked_by: "Transaction | None" = None
    waiting: "asyncio.Future[None] | None" = None
    over: bool = False
    synchronous: bool = True

    def __post_init__(self) -> None:
        self.store.open[self.number] = self

    def get(self, table: str, key: Any) -> Row | None:
        """The row as this transaction sees it."""
        place = (table, key)
        return self.writes[place] if place in self.writes else self.store.rows(table).get(key)

    def scan(self, table: str) -> Iterator[tuple[Any, Row]]:
        """All rows that this transaction sees."""
        mine = {key: row for (name, key), row in self.writes.items() if name == table} if self.writes else {}
        for key, row in list(self.store.rows(table).items()):
            if key not in mine:
                yield key, row
        yield from ((key, row) for key, row in mine.items() if row is not None)

    async def lock(self, table: str, key: Any) -> Row | None:
        """Hold the row to the end of the transaction; answers it as it is then. Waits for whoever holds it."""
        place = (table, key)
        if self.store.random.random() < PREEMPTED:
            await asyncio.sleep(self.store.random.random() * PREEMPTED_S)
            self._must_live()
        while (holder := self.store.holders.get(place, self)) is not self:
            await self._wait_for(holder, place)
        self._take(place)
        return self.get(table, key)

    def skip_locked(self, table: str, keys: Iterable[Any], limit: int) -> list[Any]:
        """Hold up to `limit` rows, of those that nobody else holds."""
        taken: list[Any] = []
        for key in keys:
            if len(taken) == limit:
                break
            if self.store.holders.get((table, key), self) is self:
                self._take((table, key))
                taken.append(key)
        return taken

    def put(self, table: str, key: Any, row: Row | None) -> None:
        """Write a row that this transaction holds; None deletes it."""
        assert self.store.holders.get((table, key)) is self, "a write without its lock"
        self.writes[(table, key)] = row

    async def insert(self, table: str, key: Any, row: Row) -> bool:
        """ON CONFLICT DO NOTHING: waits for another insert of the same key to end; False when the key is taken."""
        if await self.lock(table, key) is not None:
            return False
        self.put(table, key, row)
        return True

    async def add(self, table: str, key: Any, row: Row) -> None:
        """A plain INSERT. Raises UniqueViolationError when the key is taken."""
        if not await self.insert(table, key, row):
            raise asyncpg.UniqueViolationError(f"duplicate key in {table}")

    def commit(self) -> None:
        """Make everything visible at once."""
        self._must_live()
        changes: list[tuple[Place, Row | None]] = []
        for place, row in self.writes.items():
            before = self.store.rows(place[0]).get(place[1])
            changes.append((place, before))
            self.store.put(place, row)
            self.store.watch(place, before, row)
        if changes:
            self.store.written(changes, on_disk=self.synchronous)
        self._end()

    def roll_back(self, error: Exception | None = None) -> None:
        """Nothing happened. error: what a session that waits for a lock is told."""
        if self.over:
            return
        if self.waiting is not None and not self.waiting.done() and error is not None:
            self.waiting.set_exception(error)
        self._end()

    def _take(self, place: Place) -> None:
        if place not in self.store.holders:
            self.store.holders[place] = self
            self.held.append(place)

    async def _wait_for(self, holder: "Transaction", place: Place) -> None:
        other: Transaction | None = holder
        while other is not None:
            if other is self:
                raise asyncpg.DeadlockDetectedError("deadlock detected")
            other = other.blocked_by
        self.waiting, self.blocked_by = asyncio.get_running_loop().create_future(), holder
        self.store.waiters.setdefault(place, []).append(self.waiting)
        try:
            async with asyncio.timeout(STATEMENT_TIMEOUT_S):
                await self.waiting
        finally:
            self.waiting = self.blocked_by = None
        self._must_live()

    def _must_live(self) -> None:
        if self.over:
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    def _end(self) -> None:
        self.over = True
        self.store.open.pop(self.number, None)
        for place in self.held:
            del self.store.holders[place]
            for waiter in self.store.waiters.pop(place, ()):
                if not waiter.done():
                    waiter.set_result(None)
