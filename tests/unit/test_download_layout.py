"""How a file is cut into parts, and what a slice finds left to do."""

import pytest

from functions.download.layout import MAX_PARTS, MIB, Resumption, Span, part_size, resume, spans

THREE = spans(25, 10)


def test_parts_cover_the_file_without_gap_or_overlap() -> None:
    """Numbers from 1, the last part shorter."""
    assert THREE == [Span(1, 0, 10), Span(2, 10, 20), Span(3, 20, 25)]


@pytest.mark.parametrize(
    ("size", "expected"),
    [(1, 8 * MIB), (80_000 * MIB, 8 * MIB), (80_001 * MIB, 9 * MIB), (5 * 1024 * 1024 * MIB, 525 * MIB)],
)
def test_a_part_grows_so_that_ten_thousand_suffice(size: int, expected: int) -> None:
    """S3 takes no more parts than that, and 5 TiB at most."""
    found = part_size(size, 8 * MIB)
    assert expected == found
    assert -(-size // found) <= MAX_PARTS


@pytest.mark.parametrize(
    ("held", "offset", "expected"),
    [
        ({}, 0, Resumption(THREE, hashing=True, bytes_held=0)),
        ({1: 10}, 10, Resumption(THREE[1:], hashing=True, bytes_held=10)),
        ({1: 10, 2: 10, 3: 5}, 25, Resumption([], hashing=True, bytes_held=25)),
        ({1: 10, 2: 10}, 10, Resumption(THREE[2:], hashing=False, bytes_held=20)),
        ({2: 10}, 0, Resumption([THREE[0], THREE[2]], hashing=False, bytes_held=10)),
        ({1: 9}, 0, Resumption(THREE, hashing=True, bytes_held=0)),
        ({}, 10, None),
        ({1: 10}, 7, None),
        ({2: 10, 3: 5}, 25, None),
    ],
)
def test_what_s3_holds_is_not_fetched_again(held: dict[int, int], offset: int, expected: Resumption | None) -> None:
    """A part beyond the digest is kept and hashed later; a digest beyond the parts means to start anew."""
    assert expected == resume(THREE, held, offset)
