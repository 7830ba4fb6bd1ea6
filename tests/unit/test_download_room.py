"""Whether a plan fits: the quota, what the store has free, and what neither says."""

import json

import pytest

from functions.download.blobs.room import Budget, NoRoom, free_bytes

GIB = 1024**3


@pytest.mark.parametrize(
    ("budget", "before", "after"),
    [
        (Budget(0, None), 10**15, 10**16),
        (Budget(100, None), 40, 100),
        (Budget(0, 60), 40, 100),
        # Over the quota already, and nothing more is asked for: what is shared costs nothing.
        (Budget(100, 0), 200, 200),
    ],
)
def test_what_fits_is_let_through(budget: Budget, before: int, after: int) -> None:
    """To the last byte."""
    budget.check(before, after)


@pytest.mark.parametrize(
    ("budget", "short", "words"),
    [
        (
            Budget(100, None),
            1,
            "61 bytes are to be stored, 40 bytes of the quota of 100 bytes are taken: delete models",
        ),
        (Budget(0, 51), 10, "61 bytes are to be stored and the store has 51 bytes free: delete models"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers(budget: Budget, short: int, words: str) -> None:
    """And the next step."""
    with pytest.raises(NoRoom, match=words) as caught:
        budget.check(40, 101)
    assert caught.value.short == short


def test_large_numbers_are_shown_as_people_read_them() -> None:
    """Not as twelve digits."""
    with pytest.raises(NoRoom, match=r"20\.0 GiB are to be stored, 90\.0 GiB of the quota of 100\.0 GiB"):
        Budget(100 * GIB, None).check(90 * GIB, 110 * GIB)


def test_seaweedfs_says_what_is_free() -> None:
    """The sum over the disks of the volume server, as its /status page has them."""
    answer = {"DiskStatuses": [{"dir": "/a", "all": 9, "free": 5}, {"dir": "/b", "free": 2}], "Version": "x"}
    assert free_bytes(json.dumps(answer).encode()) == 7


@pytest.mark.parametrize("answer", [b"", b"<html>", b"{}", b'{"DiskStatuses": []}'])
def test_another_answer_says_nothing(answer: bytes) -> None:
    """A status page that is none is no reason to believe that there is no room, nor that there is."""
    with pytest.raises(ValueError, match="status"):
        free_bytes(answer)
