"""Headers of safetensors files and their indexes: read when they are true, refused when they lie."""

import json
import struct
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from functions.download.safetensors import (
    FIRST_READ_BYTES,
    MAX_HEADER_BYTES,
    Header,
    _plain,
    missing,
    parse,
    parse_index,
    read,
)
from functions.download.steps import InvalidHeader
from tests.unit.weight_files import drive, safetensors_file, tensor

ONE = '"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'


def test_parameters_are_counted_by_dtype() -> None:
    """Scalars count one, packed four-bit types too, empty tensors none; metadata is no tensor."""
    header = {
        "__metadata__": {"format": "pt", "config": '{"x": "}"}'},
        "a": tensor("BF16", [2, 3], 0, 12),
        "b": tensor("BF16", [], 12, 14),
        "c": tensor("F4", [8], 14, 18),
        "d": tensor("F32", [0, 4], 18, 18),
    }
    expected = Header({"BF16": 7, "F4": 8, "F32": 0}, frozenset({b"a", b"b", b"c", b"d"}))
    assert drive(read(8 + len(json.dumps(header)) + 18), safetensors_file(header, 18)) == expected


@pytest.mark.parametrize("count", [1, 5000])
def test_files_of_the_safetensors_library_are_read(count: int) -> None:
    """Whole from the first range, or with a second for a long header."""
    content = safetensors.numpy.save(
        {f"layers.{n}.weight": np.zeros((2, 3), np.float16) for n in range(count)}, {"format": "np"}
    )
    header = drive(read(len(content)), content)
    assert header.parameters == {"F16": 6 * count}
    assert f"layers.{count - 1}.weight".encode() in header.names


def test_names_are_compared_unescaped() -> None:
    """However JSON writes them."""
    assert parse(ONE.replace('"a"', '"\\u00e9"').join("{}").encode(), 8).names == {"é".encode()}


@pytest.mark.parametrize(
    "header",
    [
        {"a": tensor("F32", [1], 0, 4), "b": tensor("F32", [1], 2, 6)},
        {"a": tensor("F32", [1], 4, 8)},
        {"a": tensor("F32", [1], 0, 4)},
        {"a": tensor("F32", [3], 0, 8)},
        {"a": tensor("F32", [-2, -1], 0, 8)},
        {"a": tensor("F32", [2**60], 0, 8)},
        {"a": tensor("F32", [2**64, 2], 0, 8)},
        {"a": tensor("F32", [1] * 1000, 0, 4), "b": tensor("F32", [1], 4, 8)},
        {"a": tensor("Q4", [2], 0, 8)},
        {"a": tensor("F32", [2], 8, 0)},
        {"a": {"dtype": "F32"}},
        {"a": {**tensor("F32", [2], 0, 8), "more": 1}},
        {"a\0b": tensor("F32", [2], 0, 8)},
        {"a" * 2000: tensor("F32", [2], 0, 8)},
        {"a": tensor("F32", [2], 0, 8), "__metadata__": {"a": 1}},
        {"a": tensor("F32", [2], 0, 8), "__metadata__": "text"},
        {"a": "text"},
        {"a": 1},
        [],
    ],
)
def test_a_header_that_lies_is_refused(header: Any) -> None:
    """Overlaps, holes, missing bytes, wrong sizes, unknown dtypes and keys, wrong forms; the data has 8 bytes."""
    with pytest.raises(InvalidHeader):
        parse(json.dumps(header).encode(), 8)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xff",
        b"{",
        b"{,}",
        b'{"a":' * 100_000,
        f" {{{ONE}}}".encode(),
        f"{{{ONE},}}".encode(),
        f"{{{ONE}}}\n".encode(),
        f"{{{ONE}}}{{}}".encode(),
        f"{{{ONE},{ONE}}}".encode(),
        f"{{{ONE}}}".replace('"shape"', '"shape":[2],"shape"').encode(),
        f'{{{ONE},"__metadata__":{{"a":"","a":""}}}}'.encode(),
        f"{{{ONE}}}".encode("utf-16"),
        b"\xef\xbb\xbf" + f"{{{ONE}}}".encode(),
        f"{{{ONE}}}".replace('"a"', '"\\ud800"').encode(),
        f"{{{ONE}}}".encode().replace(b'"a"', b'"\xff"'),
    ],
)
def test_a_header_that_is_not_the_jsons_it_should_be_is_refused(header: bytes) -> None:
    """However deep or broken; with a key twice; with anything around it but the spaces that may follow."""
    with pytest.raises(InvalidHeader):
        parse(header, 8)


def test_a_name_may_stand_once() -> None:
    """Even for tensors without bytes, which cannot overlap: which of the two would an engine take?"""
    empty = '"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    with pytest.raises(InvalidHeader, match="twice"):
        parse(f"{{{empty},{empty}}}".encode(), 0)


def test_a_long_header_is_refused_before_it_is_read() -> None:
    """The format's own limit is beyond what fits into our memory."""
    reading = read(1 << 40)
    next(reading)
    with pytest.raises(InvalidHeader, match="are the most"):
        reading.send(struct.pack("<Q", MAX_HEADER_BYTES + 1) + bytes(FIRST_READ_BYTES - 8))


def test_spaces_may_follow_the_header() -> None:
    """Writers align the data with them."""
    assert parse(f"{{{ONE}}}   ".encode(), 8).parameters == {"F32": 2}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"1234567", "too short"),
        (struct.pack("<Q", 99) + bytes(92), "99 bytes of a file of 100"),
        (struct.pack("<Q", 1 << 63) + b"{", "are the most"),
        (struct.pack("<Q", 0), "begin with"),
    ],
)
def test_a_length_beyond_the_file_or_the_limit_is_refused(content: bytes, words: str) -> None:
    """Nothing is read on the word of a file."""
    with pytest.raises(InvalidHeader, match=words):
        drive(read(len(content)), content)


def test_an_index_is_held_against_the_shards() -> None:
    """A tensor that is not in the shard that the index names is counted; more in the shard than in the index is fine."""
    placed = parse_index(
        b'{"metadata": {"total_size": 1}, "weight_map": {"a": "1.st", "b": "1.st", "\\u0063": "2.st"}}'
    )
    assert sorted(placed) == ["1.st", "2.st"]
    assert missing(placed["1.st"], Header({}, frozenset({b"a", b"x"}))) == 1
    assert missing(placed["2.st"], Header({}, frozenset({b"c", b"d"}))) == 0


@pytest.mark.parametrize(
    "index", [b"", b"{}", b"no json", b'{"weight_map": []}', b'{"weight_map": {"a": 1}}', b'{"weight_map": {"a": {}}}']
)
def test_an_index_that_is_none_is_refused(index: bytes) -> None:
    """It names shards by strings, or it is no index."""
    with pytest.raises(InvalidHeader):
        parse_index(index)


PLAIN = (
    b'{"__metadata__":{"format":"pt"},"a.b":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},'
    b'"c":{"dtype":"F32","shape":[],"data_offsets":[12,16]}}  '
)


def outcome(header: bytes) -> Header | str:
    """What a header reads as, or that it is refused."""
    try:
        return parse(header, 16)
    except InvalidHeader:
        return "refused"


@pytest.mark.parametrize(
    "put",
    [
        b"",
        b'"',
        b"\\",
        b" ",
        b"\n",
        b"\x01",
        b"\x7f",
        b"{",
        b"}",
        b"},",
        b",",
        b"1",
        b"-",
        b"\xff",
        b'"a":1,',
        b'"c":"c",',
    ],
)
def test_the_quick_way_refuses_what_the_careful_one_refuses(put: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A header with anything put into it, or in the place of anything, reads the same both ways."""
    cut = [PLAIN[:at] + put + PLAIN[at + gone :] for at in range(len(PLAIN) + 1) for gone in (0, 1, 40)]
    quick = [outcome(header) for header in cut]
    monkeypatch.setattr("functions.download.safetensors._plain", lambda _: None)
    assert [outcome(header) for header in cut] == quick


def test_a_plain_header_goes_the_quick_way() -> None:
    """And one with a key or a name twice does not."""
    twice = PLAIN.replace(b'"c":', b'"a.b":'), PLAIN.replace(b'"format":"pt"', b'"format":"pt","format":"pt"')
    assert [_plain(header) is None for header in (PLAIN, *twice)] == [False, True, True]
