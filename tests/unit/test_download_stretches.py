"""What a worker of a shared file takes next, and how many workers a file is worth."""

from typing import Any

import pytest

from functions.download.layout import STRETCH_PARTS, Span, spans
from functions.download.stretches import Alone, Stretches, helpers, is_shared, stretch_at

PART = 10
# 32 parts: sixteen stretches, the last part shorter.
LARGE = spans(32 * PART - 3, PART)


class Leases:
    """Leases of one file's stretches, as FileRows keeps them. taken: number to holder."""

    def __init__(self, *taken: int) -> None:
        self.taken = dict.fromkeys(taken, "somebody")

    async def lease_stretch(self, _: Any, between: tuple[int, int], holder: str) -> int | None:
        """The first free one."""
        free = [number for number in range(between[0], between[1] + 1) if number not in self.taken]
        if not free:
            return None
        self.taken[free[0]] = holder
        return free[0]

    async def renew_stretches(self, _: str) -> None:
        """Nothing runs out here."""

    async def free_stretches(self, holder: str) -> None:
        """Forget them."""
        self.taken = {number: who for number, who in self.taken.items() if who != holder}


async def taken_from(leases: Any, offset: int) -> list[int]:
    """The numbers of all parts that a worker gets."""
    file: Any = None
    numbers: list[int] = []
    async with Stretches.leased(leases, file, LARGE, offset) as work:
        while run := await work.next():
            numbers += [span.number for span in run]
    return numbers


@pytest.mark.parametrize(
    ("parts", "workers", "expected"), [(32, 4, True), (31, 4, False), (32, 1, False), (1, 4, False), (1000, 2, True)]
)
def test_only_a_large_file_is_shared(parts: int, workers: int, *, expected: bool) -> None:
    """And only where several workers are allowed."""
    assert is_shared(spans(parts * PART, PART), workers) is expected


@pytest.mark.parametrize(
    ("parts", "hashed", "workers", "expected"),
    [
        (32, 0, 4, 1),
        (48, 0, 4, 2),
        (64, 0, 4, 3),
        (1000, 0, 4, 3),
        (1000, 0, 2, 1),
        (64, 48, 4, 0),
        (64, 32, 4, 1),
        (16, 0, 4, 0),
    ],
)
def test_a_helper_is_asked_for_when_it_finds_enough(parts: int, hashed: int, workers: int, expected: int) -> None:
    """Eight stretches for each worker, of what is left."""
    assert helpers(spans(parts * PART, PART), hashed * PART, workers) == expected


@pytest.mark.parametrize(("offset", "expected"), [(0, 0), (19, 0), (20, 1), (316, 15)])
def test_stretches_are_runs_of_two_parts(offset: int, expected: int) -> None:
    """Numbered from 0."""
    assert stretch_at(LARGE, offset) == expected


async def test_parts_come_in_the_order_of_the_file_and_around_what_others_have() -> None:
    """From the digest on, without a stretch that is leased."""
    assert await taken_from(Leases(), 0) == list(range(1, 33))
    assert await taken_from(Leases(1, 3), 0) == [1, 2, 5, 6, *range(9, 33)]


async def test_what_the_digest_has_seen_of_a_stretch_is_not_taken_again() -> None:
    """A stretch that was begun goes on in its middle."""
    assert (await taken_from(Leases(), 7 * PART))[:3] == [8, 9, 10]


async def test_leases_end_with_the_work() -> None:
    """Whatever became of it: others may have them at once."""
    leases = Leases(1)
    await taken_from(leases, 0)
    assert leases.taken == {1: "somebody"}


async def test_what_nobody_has_any_more_is_inherited_once() -> None:
    """The part that all wait for goes to the first that asks."""
    leases: Any = Leases(0)
    file: Any = None
    async with Stretches.leased(leases, file, LARGE, 0) as one, Stretches.leased(leases, file, LARGE, 0) as other:
        assert not await one.inherits(0)
        del leases.taken[0]
        assert await one.inherits(STRETCH_PARTS * PART - 1)
        assert not await other.inherits(0)


async def test_alone_there_is_nobody_to_wait_for() -> None:
    """All that is left, in order."""
    work = Alone([Span(2, 10, 20), Span(3, 20, 25)])
    assert [*await work.next(), *await work.next(), *await work.next()] == [Span(2, 10, 20), Span(3, 20, 25)]
    assert not await work.inherits(0)
