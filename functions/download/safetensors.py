"""Reads the header of a safetensors file, bounded, and refuses one that lies about its tensors.

Format: 8 bytes little-endian length, that many bytes of JSON, then the tensors without holes or overlaps
(github.com/huggingface/safetensors, README "Format"). `publish` reads it out of S3 with two ranges.
"""

import struct
from collections import Counter
from typing import Final

import msgspec

# The format's own limit.
MAX_HEADER_BYTES: Final = 100_000_000
# One read that holds nearly every header whole: a tensor takes about 120 bytes of it.
FIRST_READ_BYTES: Final = 256 * 1024
_LENGTH: Final = struct.Struct("<Q")
LENGTH_BYTES: Final = _LENGTH.size
_METADATA: Final = "__metadata__"
# Bits of an element by dtype, as of safetensors 0.8.
_BITS: Final = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
    "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


class InvalidHeader(ValueError):
    """The file is no safetensors file, or lies about its tensors; the message says how."""


class _Tensor(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def header_length(head: bytes, file_size: int) -> int:
    """The header's length in bytes, from the file's first eight. Raises InvalidHeader past the limits."""
    if len(head) < LENGTH_BYTES:
        raise InvalidHeader("the file is too short for safetensors")
    length = int(_LENGTH.unpack_from(head)[0])
    if length > MAX_HEADER_BYTES or LENGTH_BYTES + length > file_size:
        raise InvalidHeader(f"the header claims {length} bytes of a file of {file_size}")
    return length


def parameters(header: bytes, data_bytes: int) -> dict[str, int]:
    """How many parameters of each dtype the header declares.

    data_bytes: what follows the header in the file. Raises InvalidHeader when the tensors do not fill exactly that.
    """
    try:
        entries = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        tensors = {name: msgspec.json.decode(raw, type=_Tensor) for name, raw in entries.items() if name != _METADATA}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidHeader(f"the header is not what safetensors defines: {error}") from error
    _check_offsets([tensor.data_offsets for tensor in tensors.values()], data_bytes)
    counts: Counter[str] = Counter()
    for name, tensor in tensors.items():
        counts[tensor.dtype] += _elements(name, tensor)
    return dict(counts)


def _check_offsets(offsets: list[tuple[int, int]], data_bytes: int) -> None:
    position = 0
    for start, end in sorted(offsets):
        if start != position or end < start:
            raise InvalidHeader(f"the tensors overlap or leave a hole at byte {position}")
        position = end
    if position != data_bytes:
        raise InvalidHeader(f"the tensors declare {position} bytes and the file holds {data_bytes}")


def _elements(name: str, tensor: _Tensor) -> int:
    count = 1
    for length in tensor.shape:
        count *= length
    start, end = tensor.data_offsets
    bits = _BITS.get(tensor.dtype)
    if bits is None:
        raise InvalidHeader(f"the dtype {tensor.dtype[:20]!a} of {ascii(name)[:80]} is unknown")
    if min(tensor.shape, default=0) < 0 or count * bits != (end - start) * 8:
        raise InvalidHeader(f"the shape and the size of {ascii(name)[:80]} contradict each other")
    return count
