"""Group commit: items that arrive while a write is under way share the next one.

Called by the broker: one fsync for all events that arrive during an fsync. Nothing waits when nothing is under way.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")

# Bounds one statement's arrays: 500 events of 64 KiB are 32 MB.
LARGEST = 500


class GroupCommit(Generic[Item]):
    """Writes items in the order they came, many at a time, never two writes at once."""

    def __init__(self, write: Callable[[Sequence[Item]], Awaitable[None]]) -> None:
        """write: stores all items or none; its error goes to everyone whose item was in the batch."""
        self._write = write
        self._waiting: list[tuple[Item, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def put(self, item: Item) -> None:
        """Return when the item is written. Raises what `write` raised."""
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((item, written))
        if self._writer is None:
            self._writer = asyncio.create_task(self._drain())
        await written

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:LARGEST], self._waiting[LARGEST:]
                await self._settle(batch)
        finally:
            self._writer = None

    async def _settle(self, batch: Sequence[tuple[Item, "asyncio.Future[None]"]]) -> None:
        error: BaseException | None = None
        try:
            await self._write([item for item, _ in batch])
        except Exception as raised:  # noqa: BLE001 - handed to each caller, who knows what to make of it
            error = raised
        for _, written in batch:
            if written.done():  # its caller went away
                continue
            if error is None:
                written.set_result(None)
            else:
                written.set_exception(error)
