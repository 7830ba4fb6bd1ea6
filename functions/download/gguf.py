"""Reads the header of a GGUF file, bounded, and refuses one that lies about its tensors. Pure.

Format: github.com/ggml-org/ggml, docs/gguf.md, versions 2 and 3. What llama.cpp would refuse is
refused here, before an engine is started for it; `facts` runs it on files in S3.
"""

import math
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from functions.download.gguf_values import MAX_KEYS, Array, Cursor, Value, read_metadata, read_name
from functions.download.steps import InvalidHeader, Steps

# A mixture of 60 layers has about 2,000.
MAX_TENSORS: Final = 16_384
# ggml's own limits.
MAX_DIMENSIONS: Final = 4
MAX_TENSOR_NAME: Final = 64
_MAX_ALIGNMENT: Final = 65_536
_DEFAULT_ALIGNMENT: Final = 32
_BIG_ENDIAN_SINCE: Final = 3
# What is kept of the metadata beside the architecture's own keys.
_KEPT: Final = frozenset({"general.architecture", "general.file_type", "tokenizer.ggml.tokens"})
# Tensor types: name, elements in a block, bytes of a block (ggml.h and gguf 0.19; the gaps are types that were removed).
_TYPES: Final = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: offset in bytes from the start of the data, dimensions as ggml counts them (fastest first)."""

    name: str
    type: str
    dimensions: tuple[int, ...]
    offset: int
    size: int

    @property
    def elements(self) -> int:
        """How many numbers it has."""
        return math.prod(self.dimensions)


@dataclass(frozen=True, slots=True)
class Header:
    """What a file declares. metadata: None stands for a string too long to keep."""

    version: int
    byte_order: str
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]

    def summary(self) -> "Summary":
        """The part that is kept of a model."""
        return Summary(
            byte_order=self.byte_order,
            keys=_kept(self.metadata),
            elements=_total((tensor.type, tensor.elements) for tensor in self.tensors),
            bytes=_total((tensor.type, tensor.size) for tensor in self.tensors),
            splits=_count(self.metadata.get("split.count"), 1),
            split=_count(self.metadata.get("split.no"), 0),
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """A header without its tensors: elements and bytes by tensor type, and which of how many files it is (from 0).

    keys: those of the metadata that the contract sizes a model by, under their names; an array of numbers (one per
    layer) is a list, any other array (the vocabulary) stands as its length.
    """

    byte_order: str
    keys: Mapping[str, Any]
    elements: Mapping[str, int]
    bytes: Mapping[str, int]
    splits: int
    split: int


def read(size: int) -> Steps[Header]:
    """Read the header of a file of `size` bytes. Raises InvalidHeader."""
    cursor = Cursor(size)
    version = yield from _version(cursor)
    tensor_count = yield from cursor.number("Q")
    key_count = yield from cursor.number("Q")
    if tensor_count > MAX_TENSORS or key_count > MAX_KEYS:
        raise InvalidHeader(
            f"the header claims {tensor_count} tensors and {key_count} keys; {MAX_TENSORS} and {MAX_KEYS} are the most"
        )
    metadata = yield from read_metadata(cursor, key_count)
    alignment = _alignment(metadata)
    tensors = yield from _tensors(cursor, tensor_count)
    start = -(-cursor.position // alignment) * alignment
    _check_layout(tensors, alignment, max(0, size - start))
    return Header(version, "little" if cursor.order == "<" else "big", metadata, tuple(tensors))


def _version(cursor: Cursor) -> Steps[int]:
    """Magic and version, which also tells the byte order: no version needs its upper half."""
    if (yield from cursor.take(4)) != b"GGUF":
        raise InvalidHeader("the file does not begin with GGUF")
    raw = yield from cursor.take(4)
    version = int.from_bytes(raw, "little")
    if version & 0xFFFF == 0:
        cursor.order, version = ">", int.from_bytes(raw, "big")
    if version not in {2, 3} or (cursor.order == ">" and version < _BIG_ENDIAN_SINCE):
        raise InvalidHeader(f"GGUF version {version} is not read: 2 and 3 are, big-endian since 3")
    return version


def _alignment(metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if type(alignment) is not int or not 8 <= alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):  # noqa: PLR2004  # the format's
        raise InvalidHeader(f"the alignment {ascii(alignment)[:40]} is not a power of two from 8 to {_MAX_ALIGNMENT}")
    return alignment


def _tensors(cursor: Cursor, count: int) -> Steps[list[Tensor]]:
    names: set[str] = set()
    tensors: list[Tensor] = []
    for _ in range(count):
        tensor = yield from _tensor(cursor)
        if tensor.name in names:
            raise InvalidHeader(f"the tensor {tensor.name!a} is there twice")
        names.add(tensor.name)
        tensors.append(tensor)
    return tensors


def _tensor(cursor: Cursor) -> Steps[Tensor]:
    name = yield from read_name(cursor, MAX_TENSOR_NAME, "tensor")
    count = yield from cursor.number("I")
    if count > MAX_DIMENSIONS:
        raise InvalidHeader(f"the tensor {name!a} has {count} dimensions; {MAX_DIMENSIONS} are the most")
    data = yield from cursor.take(count * 8 + 12)
    *dimensions, kind, offset = struct.unpack(f"{cursor.order}{count}QIQ", data)
    if kind not in _TYPES:
        raise InvalidHeader(f"the tensor {name!a} has the unknown type {kind}")
    label, block, block_bytes = _TYPES[kind]
    if (dimensions[0] if dimensions else 1) % block:
        raise InvalidHeader(f"the first dimension of {name!a} is not made of whole blocks of {label}")
    return Tensor(name, label, tuple(dimensions), offset, math.prod(dimensions) // block * block_bytes)


def _check_layout(tensors: list[Tensor], alignment: int, data_bytes: int) -> None:
    """Each tensor begins where the one before it ends, padded; the last one's padding may be missing."""
    position = end = 0
    for tensor in sorted(tensors, key=lambda tensor: (tensor.offset, tensor.size)):
        if tensor.offset != position:
            raise InvalidHeader(f"the tensors overlap, leave a hole or are not aligned at byte {position} of the data")
        end = position + tensor.size
        position = -(-end // alignment) * alignment
    if not end <= data_bytes <= position:
        raise InvalidHeader(f"the tensors declare {end} bytes of data and the file holds {data_bytes}")


def _kept(metadata: Mapping[str, Value]) -> dict[str, Any]:
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str):
        return {}
    return {
        name: _plain(value)
        for name, value in metadata.items()
        if name in _KEPT or (name.startswith(f"{architecture}.") and value is not None)
    }


def _plain(value: Value) -> Any:
    if not isinstance(value, Array):
        return value
    return value.count if value.values is None else list(value.values)


def _count(value: Value, default: int) -> int:
    return value if type(value) is int else default


def _total(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for name, count in pairs:
        counts[name] += count
    return dict(counts)
