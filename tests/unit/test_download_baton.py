"""A digest that several workers carry: each part is hashed once, in order, whoever has it."""

import asyncio
import hashlib
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest

from functions.download.baton import Baton
from functions.download.digest import Digest
from functions.download.files import FileRow
from functions.download.layout import spans
from functions.download.problems import SourceChanged

CONTENT = bytes(range(250)) * 4
PARTS = spans(len(CONTENT), 300)


class Rows:
    """The kept state of one file, as FileRows keeps it."""

    def __init__(self) -> None:
        self.state: bytes | None = None
        self.writes = 0

    async def advance(self, _: FileRow, before: bytes | None, after: bytes) -> bool:
        """Compare and set."""
        await asyncio.sleep(0)
        self.writes += 1
        if self.state != before:
            return False
        self.state = after
        return True

    async def digest(self, _: FileRow) -> bytes | None:
        """What is kept."""
        return self.state


def baton(rows: Rows, *, shared: bool = True) -> Baton:
    """A worker's own view of the file."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    file = FileRow("m", "p", len(CONTENT), None, None, "u", "", 0, "id", rows.state, 0, 0, start, "o/n", "r", "s")
    kept: Any = rows
    return Baton(kept, file, shared=shared)


async def patient() -> bool:
    """For ever."""
    return True


async def add(carrier: Baton, number: int) -> bool:
    """Hash one part when its turn comes; answers whether it came."""
    span = PARTS[number]
    data = CONTENT[span.start : span.end]
    if not await carrier.reach(span, patient):
        return False
    await carrier.carry_on(data, zlib.crc32(data))
    await carrier.keep()
    return True


async def test_two_workers_hash_every_other_part() -> None:
    """Whichever order they come in, the whole has its digest, and the CRC32 of every part is there."""
    rows = Rows()
    one, other = baton(rows), baton(rows)
    assert all(await asyncio.gather(add(other, 3), add(other, 1), add(one, 2), add(one, 0)))
    whole = Digest.load(rows.state or b"")
    assert whole.sha256() == hashlib.sha256(CONTENT).hexdigest()
    assert list(whole.crc32s) == [zlib.crc32(CONTENT[span.start : span.end]) for span in PARTS]


async def test_a_part_that_somebody_else_has_hashed_counts_once() -> None:
    """The first to say so has it; the other goes on from there."""
    rows = Rows()
    one, other = baton(rows), baton(rows)
    assert all(await asyncio.gather(add(one, 0), add(other, 0)))
    assert not await add(other, 0)
    assert await add(other, 1)
    assert Digest.seen(rows.state) == PARTS[1].end


async def test_alone_nobody_is_waited_for() -> None:
    """A part whose predecessor is missing is left."""
    carrier = baton(Rows(), shared=False)
    assert not await add(carrier, 1)
    assert carrier.offset == 0


async def test_what_is_hashed_during_a_write_goes_with_the_next() -> None:
    """One write at a time, and none when there is nothing new."""
    rows = Rows()
    carrier = baton(rows)
    for span in PARTS:
        data = CONTENT[span.start : span.end]
        await carrier.carry_on(data, zlib.crc32(data))
    await asyncio.gather(*(carrier.keep() for _ in PARTS))
    assert (rows.writes, Digest.seen(rows.state)) == (1, len(CONTENT))


async def test_a_state_of_another_release_means_to_begin_anew() -> None:
    """Nothing is hashed on top of what cannot be read."""
    rows = Rows()
    rows.state = b"\x01" + bytes(120)
    with pytest.raises(SourceChanged, match="version 1"):
        baton(rows)
