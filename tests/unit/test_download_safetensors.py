"""Headers of safetensors files: read when they are true, refused when they lie."""

import json
from typing import Any

import pytest

from functions.download.safetensors import InvalidHeader, header_length, parameters


def tensor(dtype: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    """One entry of a header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_parameters_are_counted_by_dtype() -> None:
    """Scalars count one, packed four-bit types too."""
    header = {
        "__metadata__": {"format": "pt"},
        "a": tensor("BF16", [2, 3], 0, 12),
        "b": tensor("BF16", [], 12, 14),
        "c": tensor("F4", [8], 14, 18),
    }
    assert parameters(json.dumps(header).encode(), 18) == {"BF16": 7, "F4": 8}


@pytest.mark.parametrize(
    "header",
    [
        {"a": tensor("F32", [1], 0, 4), "b": tensor("F32", [1], 2, 6)},
        {"a": tensor("F32", [1], 4, 8)},
        {"a": tensor("F32", [1], 0, 4)},
        {"a": tensor("F32", [3], 0, 8)},
        {"a": tensor("F32", [-2, -1], 0, 8)},
        {"a": tensor("F32", [2**60], 0, 8)},
        {"a": tensor("Q4", [2], 0, 8)},
        {"a": tensor("F32", [2], 8, 0)},
        {"a": {"dtype": "F32"}},
        [],
    ],
)
def test_a_header_that_lies_is_refused(header: Any) -> None:
    """Overlaps, holes, missing bytes, wrong sizes, unknown dtypes, wrong forms; the data has 8 bytes."""
    with pytest.raises(InvalidHeader):
        parameters(json.dumps(header).encode(), 8)


@pytest.mark.parametrize("header", [b"", b"\xff", b"{", b'{"a":' * 100_000])
def test_a_header_that_is_no_json_is_refused(header: bytes) -> None:
    """However deep or broken."""
    with pytest.raises(InvalidHeader):
        parameters(header, 8)


@pytest.mark.parametrize(
    ("head", "size"), [(b"1234567", 7), ((99).to_bytes(8, "little"), 100), ((1 << 63).to_bytes(8, "little"), 1 << 62)]
)
def test_a_length_beyond_the_file_or_the_limit_is_refused(head: bytes, size: int) -> None:
    """Nothing is read on the word of a file."""
    with pytest.raises(InvalidHeader):
        header_length(head, size)
