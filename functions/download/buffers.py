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
        self._free = limit
        self._limit = limit
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def holding(self, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes while the context is open; a part larger than the whole budget gets all of it."""
        size = min(size, self._limit)
        await self._take(size)
        try:
            yield
        finally:
            self._free += size
            self._serve()

    async def _take(self, size: int) -> None:
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
