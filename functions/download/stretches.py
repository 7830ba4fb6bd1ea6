"""Which parts a worker takes next: all that are left of a file it has alone, or one stretch after another of a shared one.

A stretch is a run of parts that one worker leases. Leases are handed out in the order of the file, since the digest
follows that order and parts wait for it in memory. `parts` asks for spans here.
"""

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol

from functions.download.files import FileRow, FileRows
from functions.download.layout import STRETCH_PARTS, Span
from functions.kit.problem import Problem

# Files with fewer stretches (256 MiB) are one worker's: a second one would come when they are nearly there.
SHARED_FROM: Final = 16
# A worker beside the one that leads should find this many, or its start is not worth it.
WORTH_IT: Final = 8
# A quarter of the lease.
RENEW_S: Final = 5.0


class Work(Protocol):
    """Spans to fetch, in the order of the file, in runs. longest: spans of a run at most."""

    longest: int

    async def next(self) -> Sequence[Span]:
        """The next run; an empty one when there is none now."""

    async def inherits(self, offset: int) -> bool:
        """Whether the part at `offset`, for which later ones wait, was left by its worker and is now this one's."""


class Alone:
    """All the spans of a file that nobody else works on."""

    longest = 1

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = deque(spans)

    async def next(self) -> Sequence[Span]:
        """See Work."""
        return [self._spans.popleft()] if self._spans else ()

    async def inherits(self, offset: int) -> bool:
        """See Work: nobody else has any."""
        del offset
        return False


class Stretches:
    """The stretches of a shared file that this worker has leased, from the one at `offset` on. `leased` makes one."""

    longest = STRETCH_PARTS

    def __init__(self, rows: FileRows, file: FileRow, spans: Sequence[Span], offset: int) -> None:
        self._rows = rows
        self._file = file
        self._spans = spans
        self._offset = offset
        self._last = stretch_at(spans, spans[-1].start)
        self._from = stretch_at(spans, offset)
        self._holder = secrets.token_hex(8)

    @classmethod
    @contextlib.asynccontextmanager
    async def leased(
        cls, rows: FileRows, file: FileRow, spans: Sequence[Span], offset: int
    ) -> AsyncIterator["Stretches"]:
        """Stretches whose leases are renewed while the context is open; after it, others may have them."""
        stretches = cls(rows, file, spans, offset)
        renewing = asyncio.create_task(stretches._renew())
        try:
            yield stretches
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            await rows.free_stretches(stretches._holder)

    async def next(self) -> Sequence[Span]:
        """See Work: the first stretch that nobody has."""
        number = await self._rows.lease_stretch(self._file, (self._from, self._last), self._holder)
        if number is None:
            return ()
        self._from = number + 1
        begin = number * STRETCH_PARTS
        return [span for span in self._spans[begin : begin + STRETCH_PARTS] if span.start >= self._offset]

    async def inherits(self, offset: int) -> bool:
        """See Work."""
        number = stretch_at(self._spans, offset)
        return await self._rows.lease_stretch(self._file, (number, number), self._holder) is not None

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            # Not told to PostgreSQL in time, others take the stretches over: fetched twice, hashed once.
            with contextlib.suppress(Problem):
                await self._rows.renew_stretches(self._holder)


def stretch_at(spans: Sequence[Span], offset: int) -> int:
    """The number of the stretch, from 0, that the byte at `offset` lies in."""
    return offset // spans[0].size // STRETCH_PARTS


def is_shared(spans: Sequence[Span], workers: int) -> bool:
    """Whether several workers may be at a file of these parts."""
    return workers > 1 and len(spans) >= SHARED_FROM * STRETCH_PARTS


def helpers(spans: Sequence[Span], offset: int, workers: int) -> int:
    """How many workers to ask for beside the one that leads, when the digest has seen `offset` bytes."""
    if not is_shared(spans, workers):
        return 0
    left = stretch_at(spans, spans[-1].start) - stretch_at(spans, offset) + 1
    return max(0, min(workers, left // WORTH_IT) - 1)
