"""Keyset pagination: limits, opaque cursors, and the end of a list."""

import base64
from datetime import UTC, datetime

import pytest

from functions.kit.problem import BadRequest
from functions.status import paging

KEY: type[tuple[datetime, str]] = tuple[datetime, str]
ROW = (datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC), "uuid-1")


def test_a_cursor_comes_back_as_the_key_it_was_made_of() -> None:
    """Microseconds survive: the next page starts exactly after the last row."""
    assert paging.decode({"cursor": paging.encode(ROW)}, KEY) == ROW


def test_no_cursor_is_the_first_page() -> None:
    """Both an absent and an empty cursor start at the newest."""
    assert [paging.decode({}, KEY), paging.decode({"cursor": ""}, KEY)] == [None, None]


@pytest.mark.parametrize(
    "cursor",
    [
        "garbage",
        "ünïcode",
        "a",
        "====",
        base64.urlsafe_b64encode(b"[1]").decode(),
        base64.urlsafe_b64encode(b'["yesterday","x"]').decode(),
        base64.urlsafe_b64encode(b"{").decode(),
        "A" * 5000,
    ],
)
def test_a_cursor_that_we_did_not_make_is_a_bad_request(cursor: str) -> None:
    """Garbage is the caller's mistake (400), never an error of ours."""
    with pytest.raises(BadRequest):
        paging.decode({"cursor": cursor}, KEY)


@pytest.mark.parametrize("limit", ["0", "-1", "201", "ten", "", "1.5", "²", "9" * 100])
def test_a_limit_outside_its_range_is_a_bad_request(limit: str) -> None:
    """One request cannot ask for a table."""
    with pytest.raises(BadRequest):
        paging.limit({"limit": limit})


def test_limits_within_the_range_are_taken() -> None:
    """Without a limit a page is a screenful."""
    assert [paging.limit({}), paging.limit({"limit": "1"}), paging.limit({"limit": "200"})] == [50, 1, 200]


def test_the_extra_row_makes_a_next_page() -> None:
    """With one row more than the page holds, the cursor names the last row shown."""
    page = paging.cut([3, 2, 1], 2, lambda row: (row,))
    assert (page.items, paging.decode({"cursor": page.next_cursor or ""}, tuple[int])) == ([3, 2], (2,))


def test_a_page_that_is_not_full_is_the_last() -> None:
    """No cursor leads to an empty page."""
    assert paging.cut([2, 1], 2, lambda row: (row,)).next_cursor is None
