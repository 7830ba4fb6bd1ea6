"""How a file is cut into parts, and what of it counts."""

import pytest

from functions.download.layout import MAX_PARTS, MIB, Span, covers, part_size, spans

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
        ({}, 0, True),
        ({1: 10}, 10, True),
        ({1: 10, 2: 10, 3: 5}, 25, True),
        ({1: 10, 2: 10}, 10, True),
        ({2: 10}, 0, True),
        ({1: 9}, 0, True),
        ({}, 10, False),
        ({1: 9}, 10, False),
        ({1: 10}, 7, False),
        ({2: 10, 3: 5}, 25, False),
    ],
)
def test_what_was_hashed_has_to_be_there(held: dict[int, int], offset: int, *, expected: bool) -> None:
    """Parts past the digest do not matter; a digest past the parts, or inside of one, means to start anew."""
    assert covers(THREE, held, offset) is expected
