"""Takes away content that no model refers to any more: by tick after a grace period, by hand, or when room is needed.

References are asked for, not counted. A blob goes in one transaction that holds its row: a plan that wants it waits for
that row, and takes it as not stored; one that had the row first has made its references visible when the collector
looks again. So what a pull has decided to reuse is never taken, whatever the grace period.
"""

import logging
from dataclasses import dataclass
from typing import Final

from functions.download import layout
from functions.download.blobs.shelf import SQL
from functions.kit.db import Database
from functions.kit.objects import Objects

# Deleted in one transaction and one call of S3, while plans that want just these wait: well under a second.
BATCH: Final = 200
# Batches of a tick; the next tick takes the rest.
MOST_BATCHES: Final = 20
# Blobs lie under 256 prefixes, of which each tick looks through one for objects that no row knows.
PREFIXES: Final = 256
# What a dry run lists by name.
SHOWN: Final = 1000
_LOG = logging.getLogger("torpor.download")


@dataclass(frozen=True, slots=True)
class Collection:
    """What went, or would go: number of blobs, their bytes, and the digests, oldest first, as far as they are shown."""

    blobs: int
    bytes: int
    digests: tuple[str, ...]


class Collector:
    """Collects blobs. grace_s: how long one is kept after its last reference went."""

    def __init__(self, db: Database, objects: Objects, grace_s: float) -> None:
        self._db = db
        self._objects = objects
        self._grace_s = grace_s

    async def foresee(self, grace_s: float | None = None) -> Collection:
        """What a collection would take now; nothing is changed."""
        rows = await self._db.fetch(SQL.collectable, self._grace_s if grace_s is None else grace_s)
        return _collection([(row["digest"], row["size_bytes"]) for row in rows])

    async def collect(self, grace_s: float | None = None, most: int = MOST_BATCHES) -> Collection:
        """Take away what nobody has referred to for the grace period. Raises Retry: the rest stays for the next time."""
        await self._db.execute(SQL.unmark_referenced)
        await self._db.execute(SQL.mark_unreferenced)
        gone: list[tuple[str, int]] = []
        for _ in range(most):
            taken, seen = await self._take(self._grace_s if grace_s is None else grace_s)
            gone += taken
            if seen < BATCH:
                break
        found = _collection(gone)
        if gone:
            _LOG.info("%d blobs that no model refers to are gone: %d bytes", found.blobs, found.bytes)
        return found

    async def _take(self, grace_s: float) -> tuple[list[tuple[str, int]], int]:
        """One batch: locked, looked at again, deleted in S3 while the lock is held. Answers it and how many were locked.

        When S3 fails, the rows stay, and are collected again; should somebody want one first, its object is looked at
        before a manifest names it.
        """
        async with self._db.transaction() as connection:
            locked = [row["digest"] for row in await connection.fetch(SQL.lock_collectable, grace_s, BATCH)]
            rows = await connection.fetch(SQL.remove_unreferenced, locked) if locked else []
            taken = [(row["digest"], row["size_bytes"]) for row in rows]
            if taken:
                await self._objects.delete([layout.blob_key(digest) for digest, _ in taken])
        return taken, len(locked)

    async def look_for_leftovers(self, prefix: str = "") -> None:
        """Objects that no row knows, as a kill can leave them, under one prefix or everywhere; and staging.

        Blobs become rows that nobody refers to, which the collector takes in its time.
        """
        found = await self._objects.keys(layout.BLOBS + prefix)
        if found:
            digests = [info.key.rpartition("/")[2] for info in found]
            await self._db.execute(SQL.adopt_orphans, digests, [info.size for info in found])
        await self._drop_stale_staging()

    async def _drop_stale_staging(self) -> None:
        """What lies in staging for models that are not on their way any more."""
        owners: dict[str, list[str]] = {}
        for info in await self._objects.keys(layout.STAGING):
            owners.setdefault(info.key.removeprefix(layout.STAGING).partition("/")[0], []).append(info.key)
        if owners:
            moving = {row["uuid"] for row in await self._db.fetch(SQL.unfinished_models, list(owners))}
            await self._objects.delete([key for owner, keys in owners.items() if owner not in moving for key in keys])


def prefix_of(minute: int) -> str:
    """Which prefix a tick looks through: the clock says so, since instances come and go between ticks."""
    return f"{minute % PREFIXES:02x}/"


def _collection(blobs: list[tuple[str, int]]) -> Collection:
    return Collection(len(blobs), sum(size for _, size in blobs), tuple(digest for digest, _ in blobs[:SHOWN]))
