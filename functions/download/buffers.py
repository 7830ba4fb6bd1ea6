"""The memory that parts of all files of one instance share, so that its size does not depend on the models'."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator


class Buffers:
    """A budget of bytes, strictly first come, first served.

    Parts of a file ask in order and wait for the part before them while they hold memory; were a later part served
    first, all memory could end up waiting for a part that has none.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free = limit
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def holding(self, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes while the context is open."""
        await self.take(size)
        try:
            yield
        finally:
            self.give(size)

    async def take(self, size: int) -> None:
        """Wait for `size` bytes, and `give` them back; a part larger than the whole budget gets all of it."""
        size = min(size, self.limit)
        served = asyncio.get_running_loop().create_future()
        self._queue.append((size, served))
        self._serve()
        try:
            await served
        except asyncio.CancelledError:
            if served.done() and not served.cancelled():
                self._free += size
            self._serve()
            raise

    def give(self, size: int) -> None:
        """The bytes that were taken are free again."""
        self._free += min(size, self.limit)
        self._serve()

    def _serve(self) -> None:
        while self._queue:
            size, served = self._queue[0]
            if served.cancelled():
                self._queue.popleft()
            elif size <= self._free:
                self._queue.popleft()
                self._free -= size
                served.set_result(None)
            else:
                return
