"""The heart beat of a slice: what it stores, and that it never loses its own lease."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from functions.download import progress
from functions.download.files import FileRow, FileRows
from functions.download.problems import LeaseLost
from functions.download.states import FileCause

FIRST = datetime(2026, 1, 1, tzinfo=UTC)


class Row:
    """The file's row in a database that takes its time to answer."""

    def __init__(self, *, lost: bool = False) -> None:
        self.lease = FIRST
        self.beating = asyncio.Event()
        self._lost = lost

    async def beat(self, file: FileRow) -> None:
        """Move the lease at once, and answer later, as a server does."""
        if self._lost:
            raise LeaseLost(FileCause.CLAIMED)
        self.lease += timedelta(seconds=1)
        moved = self.lease
        self.beating.set()
        await asyncio.sleep(0.05)
        file.lease = moved


def _file() -> FileRow:
    return FileRow("m", "p", 10, None, None, "u", "", 0, None, None, 0, 0, FIRST, "o/n", "r", "s")


async def test_work_that_ends_during_a_beat_keeps_its_lease() -> None:
    """The worker's lease is the row's, so that its result is accepted."""
    file, row = _file(), Row()

    async def work() -> str:
        await asyncio.sleep(0)
        file.bytes_done = 5
        await row.beating.wait()
        return "done"

    assert await progress.keep_beating(work(), file, cast("FileRows", row), beat_s=0.01) == "done"
    assert (row.lease, FIRST + timedelta(seconds=1)) == (file.lease, file.lease)


async def test_a_lost_lease_ends_the_work() -> None:
    """Whoever lost the file stops writing it."""
    file = _file()

    async def work() -> None:
        await asyncio.sleep(0)
        file.bytes_done = 5
        await asyncio.Event().wait()

    with pytest.raises(LeaseLost):
        await progress.keep_beating(work(), file, cast("FileRows", Row(lost=True)), beat_s=0.01)


async def test_however_fast_it_goes_a_row_is_written_once_a_beat() -> None:
    """A thousand steps between two beats are one write: the database sees two a second, whatever the source sends."""
    file, row = _file(), Row()
    began, beat_s = asyncio.get_running_loop().time(), 0.1

    async def work() -> None:
        while row.lease < FIRST + timedelta(seconds=5):
            file.bytes_done += 1
            await asyncio.sleep(0)

    await progress.keep_beating(work(), file, cast("FileRows", row), beat_s)
    writes = (row.lease - FIRST).total_seconds()
    assert file.bytes_done > writes
    assert writes <= (asyncio.get_running_loop().time() - began) / beat_s
    assert progress.BEAT_S == 0.5
