"""Moves the missing parts of one file from its source into a multipart upload: several at a time, hashed in order.

A part is put into S3 only after the digest has seen it and all before it; so S3 holds no part that a stored digest
could not follow, unless the worker is killed between the two.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from functions.download.buffers import Buffers
from functions.download.digest import Digest
from functions.download.files import FileRow
from functions.download.layout import Span
from functions.download.problems import SourceUnwell
from functions.download.ranges import Origin, Reads
from functions.kit.objects import Objects
from functions.kit.problem import Unavailable


@dataclass(slots=True)
class PartPump:
    """One slice's work on one file. digest is None when the stream cannot be hashed (see layout.Resumption).

    copy: moves a part inside S3, where it can, so that nothing is read and put here.
    """

    file: FileRow
    origin: Origin
    digest: Digest | None
    reader: Reads
    objects: Objects
    buffers: Buffers
    deadline: float
    window: int
    clock: Callable[[], float] = time.monotonic
    copy: Callable[[Span], Awaitable[None]] | None = None
    # The first temporary trouble: no new part begins after it.
    trouble: SourceUnwell | Unavailable | None = None
    _states: dict[int, bytes] = field(default_factory=dict)
    _stored: set[int] = field(default_factory=set)
    _next_to_settle: int = 0

    async def run(self, todo: Sequence[Span]) -> None:
        """Move `todo`, as far as the deadline and the source allow, but one part at least: a slice has to get on.

        Raises SourceChanged, SourceRefused.
        """
        self._next_to_settle = todo[0].number if todo else 0
        turn = asyncio.Event()
        turn.set()
        running: set[asyncio.Task[None]] = set()
        try:
            for span in todo:
                if self.trouble or (span is not todo[0] and self.clock() >= self.deadline):
                    break
                done = asyncio.Event()
                running.add(asyncio.create_task(self._move(span, turn, done)))
                turn = done
                if len(running) >= self.window:
                    running = await _first_done(running)
            while running:
                running = await _first_done(running)
        finally:
            await _cancel(running)

    async def _move(self, span: Span, turn: asyncio.Event, done: asyncio.Event) -> None:
        try:
            if self.copy is not None:
                await self.copy(span)
                self._saw(span.size)
                return
            async with self.buffers.holding(span.size):
                data = await self.reader.read(self.origin, span, self.deadline, self._saw)
                await turn.wait()
                if self.trouble is None:
                    await self._store(span, data, done)
        except (SourceUnwell, Unavailable) as error:
            self.trouble = self.trouble or error
        finally:
            done.set()

    async def _store(self, span: Span, data: bytes, done: asyncio.Event) -> None:
        if self.digest is not None:
            await asyncio.to_thread(self.digest.update, data)
            self._states[span.number] = self.digest.dump()
        done.set()
        await self.objects.put_part(self.file.key, self.file.upload_id or "", span.number, data)
        self._stored.add(span.number)
        self._settle()

    def _settle(self) -> None:
        """The digest that may be stored: of the longest run of parts without a gap that S3 holds."""
        while self._next_to_settle in self._stored:
            state = self._states.pop(self._next_to_settle, None)
            if state is not None:
                self.file.hash_state = state
            self._next_to_settle += 1

    def _saw(self, count: int) -> None:
        self.file.bytes_done += count


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
