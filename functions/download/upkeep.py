"""The tick: sends what the outbox still holds, asks again for what stalled, and clears away what was left behind."""

import time
from typing import Final

from functions.download.blobs.collector import Collector, prefix_of
from functions.download.cleanup import Cleanup
from functions.download.files import SQL
from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.events import CloudEvent, FileRequested, ModelRequested

# Longer than a Broker's own retries usually take, so that a tick repairs and seldom doubles.
STALLED_S: Final = 60.0


class Upkeep:
    """What makes lost events and dead workers a delay instead of a loss."""

    def __init__(self, db: Database, bus: Bus, cleanup: Cleanup, collector: Collector) -> None:
        self._db = db
        self._bus = bus
        self._cleanup = cleanup
        self._collector = collector

    async def on_tick(self, _: CloudEvent) -> None:
        """Handle a tick. Not marked in the inbox: doing it twice does nothing more."""
        await self._bus.resend()
        async with self._bus.transaction() as unit:
            for row in await unit.connection.fetch(SQL.stalled_plans, STALLED_S):
                unit.emit(ModelRequested(row["uuid"]), actor=row["actor"])
            for row in await unit.connection.fetch(SQL.stalled_files, STALLED_S):
                unit.emit(FileRequested(row["model_uuid"], row["path"], 0))
        await self._cleanup.leftovers()
        await self._collector.collect()
        if await self._db.fetchval(SQL.was_active):
            await self._collector.look_for_leftovers(prefix_of(int(time.time() // 60)))
