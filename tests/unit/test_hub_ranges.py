"""Which bytes a Range header gets (RFC 9110, section 14)."""

import pytest

from kn_model.hub.ranges import Answer, answer

WHOLE = Answer(200, 0, 10, 10)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, WHOLE),
        ("bytes=0-3", Answer(206, 0, 4, 10)),
        ("bytes=4-", Answer(206, 4, 10, 10)),
        ("bytes=-3", Answer(206, 7, 10, 10)),
        ("bytes=-30", Answer(206, 0, 10, 10)),
        ("bytes=8-99", Answer(206, 8, 10, 10)),
        ("bytes=10-", Answer(416, 0, 0, 10)),
        ("bytes=-0", Answer(416, 0, 0, 10)),
        ("bytes=5-4", WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=0-1,4-5", WHOLE),
        ("lines=0-1", WHOLE),
    ],
)
def test_a_range_header_gets_the_bytes_the_rfc_says(header: str | None, expected: Answer) -> None:
    """One satisfiable range is 206, an unsatisfiable one 416, anything else the whole file."""
    assert expected == answer(10, "tag", header, None)


def test_a_range_of_another_version_gets_the_whole_file() -> None:
    """If-Range with a changed ETag must not mix versions."""
    assert answer(10, "new", "bytes=4-", '"old"') == WHOLE
    assert answer(10, "new", "bytes=4-", '"new"') == Answer(206, 4, 10, 10)


def test_an_unsatisfiable_range_says_the_size() -> None:
    """A client learns the true size from Content-Range of a 416."""
    assert answer(10, "tag", "bytes=10-", None).headers == {"Content-Range": "bytes */10"}
