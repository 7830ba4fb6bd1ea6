"""Group commit: what comes during a write shares the next one."""

import asyncio
from collections.abc import Sequence

import pytest

from kn_model.local.eventing.group_commit import GroupCommit


async def test_what_arrives_during_a_write_shares_the_next() -> None:
    """One write at a time, in order, and everybody returns only when written."""
    batches: list[list[int]] = []

    async def write(items: Sequence[int]) -> None:
        batches.append(list(items))
        await asyncio.sleep(0)

    commit = GroupCommit(write)
    first = asyncio.create_task(commit.put(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.gather(first, *(commit.put(n) for n in (2, 3)))
    assert batches == [[1], [2, 3]]


async def test_a_failed_write_fails_its_own_callers_only() -> None:
    """Those in the batch get the error, the next batch is written."""
    written: list[int] = []

    async def write(items: Sequence[int]) -> None:
        if 1 in items:
            raise OSError("disk")
        written.extend(items)

    commit = GroupCommit(write)
    with pytest.raises(OSError, match="disk"):
        await commit.put(1)
    await commit.put(2)
    assert written == [2]


async def test_a_caller_that_leaves_does_not_disturb_the_others() -> None:
    """A cancelled call is written or not, the others are."""
    written: list[int] = []
    gate = asyncio.Event()

    async def write(items: Sequence[int]) -> None:
        await gate.wait()
        written.extend(items)

    commit = GroupCommit(write)
    leaving, staying = asyncio.create_task(commit.put(1)), asyncio.create_task(commit.put(2))
    await asyncio.sleep(0)
    leaving.cancel()
    gate.set()
    await staying
    assert written == [1, 2]
