"""Moves parts of one file from its source into a multipart upload: several at a time, hashed in the order of the file.

A part goes into S3 as soon as it is there, and stays in memory until the digest has seen it and all before it: the
bytes that were hashed are the bytes that were sent.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from functions.download.baton import Baton
from functions.download.buffers import Buffers
from functions.download.digest import crc32
from functions.download.files import FileRow
from functions.download.layout import Span
from functions.download.problems import SourceUnwell
from functions.download.ranges import Origin, Reads
from functions.download.stretches import Work
from functions.kit.objects import Objects
from functions.kit.problem import Unavailable

# What the end of a slice may wait for the parts before its own, which others have.
GRACE_S: Final = 10.0
# How often a waiting worker looks whether the one it waits for has gone.
INHERIT_S: Final = 1.0


@dataclass(slots=True)
class PartPump:
    """One slice's work on one file. window: parts at a time. part_bytes: what one takes in memory."""

    file: FileRow
    origin: Origin
    work: Work
    baton: Baton
    reader: Reads
    objects: Objects
    buffers: Buffers
    deadline: float
    window: int
    part_bytes: int
    clock: Callable[[], float] = time.monotonic
    # The first temporary trouble: no new part begins after it.
    trouble: SourceUnwell | Unavailable | None = None
    # The part that all wait for is this worker's now, which has to let go of what it holds to fetch it.
    inherited: bool = False
    _asked: float = 0.0

    async def run(self) -> int:
        """Move parts, as far as the deadline, the source and `work` allow, but one at least: a slice has to get on.

        Answers how many were begun. Raises SourceChanged, SourceRefused, LeaseLost.
        """
        begun = 0
        turn = asyncio.Event()
        turn.set()
        running: set[asyncio.Task[None]] = set()
        try:
            while run := await self._next(begun):
                begun += len(run)
                for span in run:
                    done = asyncio.Event()
                    task = asyncio.create_task(self._move(span, turn, done))
                    task.add_done_callback(lambda _: self.buffers.give(self.part_bytes))
                    running.add(task)
                    turn = done
                while running and len(running) + self.work.longest > self.window:
                    running = await _first_done(running)
            while running:
                running = await _first_done(running)
        finally:
            await _cancel(running)
        await self.baton.keep()
        return begun

    async def _next(self, begun: int) -> Sequence[Span]:
        """A run of spans, and memory for it. Memory first: what others wait for is never a part that waits for memory."""
        if self._is_over(begun):
            return ()
        longest = self.work.longest * self.part_bytes
        await self.buffers.take(longest)
        run: Sequence[Span] = ()
        try:
            # Getting memory may have taken long.
            run = () if self._is_over(begun) else await self.work.next()
        finally:
            self.buffers.give(longest - len(run) * self.part_bytes)
        return run

    def _is_over(self, begun: int) -> bool:
        return self.trouble is not None or self.inherited or (begun > 0 and self.clock() >= self.deadline)

    async def _move(self, span: Span, turn: asyncio.Event, done: asyncio.Event) -> None:
        try:
            data = await self.reader.read(self.origin, span, self.deadline, self._saw)
            crc = crc32(data)
            await self.objects.put_part(self.file.key, self.file.upload_id or "", span.number, data, crc)
            await turn.wait()
            if await self.baton.reach(span, self._is_patient):
                await self.baton.carry_on(data, crc)
            done.set()
            await self.baton.keep()
            if self.baton.shared:
                self.file.bytes_done = self.baton.offset
        except (SourceUnwell, Unavailable) as error:
            self.trouble = self.trouble or error
        finally:
            done.set()

    async def _is_patient(self) -> bool:
        """Whether to wait for the worker who has the parts before; not for ever, and not when it has gone."""
        now = self.clock()
        if now - self._asked >= INHERIT_S:
            self._asked = now
            self.inherited = self.inherited or await self.work.inherits(self.baton.offset)
        return self.trouble is None and not self.inherited and now < self.deadline + GRACE_S

    def _saw(self, count: int) -> None:
        """Bytes on their way count, but of a shared file, whose workers know of each other what has been hashed."""
        if not self.baton.shared:
            self.file.bytes_done += count


async def together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of `work` side by side; the first error cancels the rest."""
    running = {asyncio.create_task(one) for one in work}
    try:
        while running:
            running = await _first_done(running)
    finally:
        await _cancel(running)


async def _first_done(running: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    done, rest = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    errors = [error for task in done if (error := task.exception()) is not None]
    if errors:
        await _cancel(rest)
        raise errors[0]
    return rest


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
