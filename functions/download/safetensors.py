"""Reads the header of a safetensors file, bounded, and refuses one that lies about its tensors. Pure.

Format: 8 bytes little-endian length, that many bytes of JSON, then the tensors without holes or overlaps
(github.com/huggingface/safetensors, README "Format"). `facts` runs it on files in S3.
"""

import re
import struct
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

import msgspec

from functions.download.members import check_utf8, members
from functions.download.steps import InvalidHeader, Steps

# The format allows 100 MB, which no memory limit of ours would hold parsed. A tensor takes about 120 bytes of it, and
# the largest files known have a few thousand tensors: they are cut into shards.
MAX_HEADER_BYTES: Final = 16 * 1024 * 1024
MAX_TENSORS: Final = 65_536
# One read from S3 that holds nearly every header whole.
FIRST_READ_BYTES: Final = 256 * 1024
# An index speaks of all shards: a trillion parameters in experts are 210,000 tensors and 23 MB of it.
MAX_INDEX_BYTES: Final = 32 * 1024 * 1024
MAX_INDEX_TENSORS: Final = 524_288
MAX_SHARDS: Final = 10_000
# {"dtype":"F8_E5M2FNUZ","shape":[...],"data_offsets":[...,...]} with as many dimensions as anybody uses.
_MAX_ENTRY_BYTES: Final = 1024
_MAX_NAME_BYTES: Final = 1024
# Three keys and one string have so many quotation marks: more is a key twice, or one that nobody knows.
_QUOTES: Final = 8
_LENGTH: Final = struct.Struct("<Q")
_METADATA: Final = b"__metadata__"
# Bits of an element by dtype, as of safetensors 0.8.
_BITS: Final = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
    "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip

# Hashes of tensor names: eight bytes each.
Hashes: TypeAlias = "array[int]"
# Larger numbers belong to no file, and would be slow to multiply.
_Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class _Tensor(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str
    shape: list[_Number]
    data_offsets: tuple[_Number, _Number]


_TENSOR: Final = msgspec.json.Decoder(_Tensor)
_CONTROL: Final = re.compile(rb"[\x00-\x1f]")
# A header as the publishers' tools write it begins like this, or at once with a tensor.
_PLAIN_METADATA: Final = b'{"__metadata__":{'
# What it has none of: space, and names that need escaping.
_NOT_PLAIN: Final = (b" ", b"\t", b"\n", b"\r", b"\\")
_TENSORS: Final = msgspec.json.Decoder(dict[str, _Tensor])
_TEXTS: Final = msgspec.json.Decoder(dict[str, str])
# With so few dimensions no entry is longer than _MAX_ENTRY_BYTES.
_PLAIN_DIMENSIONS: Final = 16


class _Index(msgspec.Struct):
    weight_map: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Header:
    """What a file declares: elements by dtype, and the names of its tensors in UTF-8."""

    parameters: Mapping[str, int]
    names: frozenset[bytes]


def read(size: int) -> Steps[Header]:
    """Read the header of a file of `size` bytes. Raises InvalidHeader."""
    if size < _LENGTH.size:
        raise InvalidHeader("the file is too short for safetensors")
    head = yield 0, min(size, FIRST_READ_BYTES)
    length = int(_LENGTH.unpack_from(head)[0])
    if length > MAX_HEADER_BYTES:
        raise InvalidHeader(f"the header claims {length} bytes; {MAX_HEADER_BYTES} are the most that is read")
    end = _LENGTH.size + length
    if end > size:
        raise InvalidHeader(f"the header claims {length} bytes of a file of {size}")
    return parse(head[_LENGTH.size : end] if end <= len(head) else (yield _LENGTH.size, end), size - end)


def parse(header: bytes, data_bytes: int) -> Header:
    """Read a header's JSON. data_bytes: what follows it in the file.

    Raises InvalidHeader when the tensors do not fill exactly that, or the JSON is not what the format allows.
    """
    plain = _plain(header)
    tensors = _walked(header) if plain is None else plain.items()
    counts: Counter[str] = Counter()
    names: set[bytes] = set()
    offsets: list[tuple[int, int]] = []
    for name, tensor in tensors:
        counts[tensor.dtype] += _elements(name, tensor)
        names.add(name)
        offsets.append(tensor.data_offsets)
    _check_offsets(offsets, data_bytes)
    return Header(dict(counts), frozenset(names))


def _plain(header: bytes) -> Mapping[bytes, _Tensor] | None:
    """The tensors of a short header that is plain, decoded at once: a mixture has tens of thousands. Else None.

    Nothing can stand twice in it: every string has two quotation marks of its own, and a name or key that was overwritten
    leaves its marks behind.
    """
    text = header.rstrip(b" ")
    if len(header) > FIRST_READ_BYTES or any(mark in text for mark in _NOT_PLAIN):
        return None
    try:
        texts, rest = _plain_metadata(text)
        tensors = {name.encode(): tensor for name, tensor in _TENSORS.decode(rest).items()}
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    if text.count(b'"') != texts + len(tensors) * (2 + _QUOTES) or _METADATA in tensors:
        return None
    longest = max(map(len, tensors), default=0)
    deepest = max((len(tensor.shape) for tensor in tensors.values()), default=0)
    return tensors if longest <= _MAX_NAME_BYTES and deepest <= _PLAIN_DIMENSIONS else None


def _plain_metadata(text: bytes) -> tuple[int, bytes]:
    """How many quotation marks the metadata has where it comes first, and the object without it. Raises MsgspecError."""
    if not text.startswith(_PLAIN_METADATA):
        return 0, text
    end = text.find(b"},") + 1
    texts = _TEXTS.decode(text[len(_PLAIN_METADATA) - 1 : end])
    return 2 + 4 * len(texts), b"{" + text[end + 1 :]


def _walked(header: bytes) -> Iterator[tuple[bytes, _Tensor]]:
    """The tensors of any header, one by one. Raises InvalidHeader."""
    check_utf8(header)
    names: set[bytes] = set()
    for name, value in members(header, MAX_TENSORS):
        if name in names:
            raise InvalidHeader(f"the header names {ascii(name)[:80]} twice")
        names.add(name)
        if name == _METADATA:
            _check_metadata(value)
        else:
            yield name, _tensor(name, value)


def read_index(size: int) -> Steps[dict[str, Hashes]]:
    """Read a model.safetensors.index.json of `size` bytes. Raises InvalidHeader."""
    if size > MAX_INDEX_BYTES:
        raise InvalidHeader(f"it has {size} bytes; {MAX_INDEX_BYTES} are the most that is read of an index")
    return parse_index((yield 0, size))


def parse_index(index: bytes) -> dict[str, Hashes]:
    """The hashes of the tensors' names that a model.safetensors.index.json places into each shard.

    Hashes and not names, so that any index fits into memory; Python keys them anew in each process, so nobody can aim at
    a collision. Raises InvalidHeader.
    """
    try:
        weight_map = memoryview(msgspec.json.decode(index, type=_Index).weight_map)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidHeader(f"it is not an index of safetensors: {error}") from error
    shards: dict[bytes, Hashes] = {}
    for name, shard in members(weight_map, MAX_INDEX_TENSORS):
        shards.setdefault(shard, array("q")).append(hash(name))
        if len(shards) > MAX_SHARDS:
            raise InvalidHeader(f"it names more than {MAX_SHARDS} shards")
    return {_shard_name(shard): hashes for shard, hashes in shards.items()}


def missing(hashes: Hashes, header: Header) -> int:
    """How many tensors that an index places into a shard are not in the shard's header."""
    return len(set(hashes) - {hash(name) for name in header.names})


def _shard_name(value: bytes) -> str:
    try:
        return msgspec.json.decode(value, type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidHeader(f"it names a shard that is no name: {ascii(value)[:80]}") from error


def _check_metadata(value: bytes) -> None:
    seen: set[bytes] = set()
    for name, text in members(value, MAX_TENSORS):
        if name in seen or not text.startswith(b'"'):
            raise InvalidHeader(f"__metadata__ has {ascii(name)[:80]} twice, or not as a string")
        seen.add(name)


def _tensor(name: bytes, value: bytes) -> _Tensor:
    if len(name) > _MAX_NAME_BYTES or _CONTROL.search(name):
        raise InvalidHeader(f"the tensor's name {ascii(name)[:80]} is too long or holds a control character")
    if len(value) > _MAX_ENTRY_BYTES or value.count(b'"') != _QUOTES:
        raise InvalidHeader(f"the entry of {ascii(name)[:80]} is not dtype, shape and data_offsets alone")
    try:
        return _TENSOR.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidHeader(f"the entry of {ascii(name)[:80]} is not what safetensors defines: {error}") from error


def _elements(name: bytes, tensor: _Tensor) -> int:
    count = 1
    for length in tensor.shape:
        count *= length
    start, end = tensor.data_offsets
    bits = _BITS.get(tensor.dtype)
    if bits is None:
        raise InvalidHeader(f"the dtype {tensor.dtype[:20]!a} of {ascii(name)[:80]} is unknown")
    if count * bits != (end - start) * 8:
        raise InvalidHeader(f"the shape and the size of {ascii(name)[:80]} contradict each other")
    return count


def _check_offsets(offsets: list[tuple[int, int]], data_bytes: int) -> None:
    position = 0
    for start, end in sorted(offsets):
        if start != position or end < start:
            raise InvalidHeader(f"the tensors overlap or leave a hole at byte {position}")
        position = end
    if position != data_bytes:
        raise InvalidHeader(f"the tensors declare {position} bytes and the file holds {data_bytes}")
