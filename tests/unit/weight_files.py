"""Weight files as bytes, true and lying, built by hand: what the tests of the header readers share.

`python -m tests.unit.weight_files` runs every lie through its reader in a process that may take MEMORY_BYTES more than it
has, and prints what became of each, in how many seconds of a core: `test_download_hostile_headers` looks at the first, people at
the second.
"""

import io
import json
import resource
import struct
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from functions.download import gguf, safetensors
from functions.download.steps import InvalidHeader, Steps

T = TypeVar("T")
MEMORY_BYTES = 64 * 1024 * 1024
TIB = 1 << 40
_PIECE_BYTES = 64 * 1024


def drive(steps: Steps[T], content: bytes) -> T:
    """Run a reader over the bytes of a whole file."""
    return drive_reading(steps, lambda start, end: content[start:end])


def drive_reading(steps: Steps[T], read: Callable[[int, int], bytes]) -> T:
    """Run a reader over a file of which only the ranges asked for exist."""
    try:
        wanted = next(steps)
        while True:
            data = read(*wanted)
            assert len(data) == wanted[1] - wanted[0], "a reader asked for bytes past the end of the file"
            wanted = steps.send(data)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def tensor(dtype: str, shape: Sequence[int], start: int, end: int) -> dict[str, Any]:
    """One entry of a safetensors header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def safetensors_file(header: Mapping[str, Any] | bytes, data_bytes: int) -> bytes:
    """A safetensors file with that header and so many bytes of data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(data_bytes)


@dataclass(frozen=True)
class Info:
    """One tensor of a GGUF file as it is written; the default is 32 floats at the start of the data."""

    name: str = "w"
    dimensions: Sequence[int] = (32,)
    kind: int = 0
    offset: int = 0


def gguf_text(text: str | bytes, order: str = "<") -> bytes:
    """A string."""
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack(order + "Q", len(data)) + data


def gguf_key(name: str, kind: int, value: bytes, order: str = "<") -> bytes:
    """A key with a value that is already bytes."""
    return gguf_text(name, order) + struct.pack(order + "I", kind) + value


def gguf_array(kind: int, count: int, content: bytes = b"", order: str = "<") -> bytes:
    """An array's value."""
    return struct.pack(order + "IQ", kind, count) + content


def gguf_info(info: Info, order: str = "<") -> bytes:
    """The entry of a tensor."""
    dimensions = struct.pack(f"{order}I{len(info.dimensions)}Q", len(info.dimensions), *info.dimensions)
    return gguf_text(info.name, order) + dimensions + struct.pack(order + "IQ", info.kind, info.offset)


def gguf_file(  # noqa: PLR0913  # one per thing that a file can be made to say wrongly
    keys: Sequence[bytes] = (),
    infos: Sequence[Info] = (),
    data_bytes: int = 0,
    *,
    version: int = 3,
    order: str = "<",
    counts: tuple[int, int] | None = None,
    alignment: int = 32,
) -> bytes:
    """A GGUF file; counts: what it claims instead of its true numbers of tensors and keys."""
    tensors, pairs = counts or (len(infos), len(keys))
    head = b"GGUF" + struct.pack(order + "IQQ", version, tensors, pairs)
    head += b"".join(keys) + b"".join(gguf_info(info, order) for info in infos)
    return head + bytes(-len(head) % alignment) + bytes(data_bytes)


@dataclass(frozen=True)
class Lie:
    """A file that its reader has to refuse: its first bytes, then `filler` over and over up to `size`."""

    read: Callable[[int], Steps[object]]
    head: bytes
    filler: bytes = b"\0"
    size: int = 0

    @property
    def whole_size(self) -> int:
        """Bytes of the file."""
        return self.size or len(self.head)

    def ranged(self, start: int, end: int) -> bytes:
        """The bytes start..end-1, made when asked for."""
        content = io.BytesIO()
        content.write(self.head[start:end])
        first = max(0, start - len(self.head)) % len(self.filler)
        piece = (self.filler[first:] + self.filler[:first]) * (_PIECE_BYTES // len(self.filler))
        while (missing := end - start - content.tell()) > 0:
            content.write(piece[:missing])
        return content.getvalue()


def _claims(length: int) -> bytes:
    return struct.pack("<Q", length)


_MIB = 1024 * 1024
_KEYED = b"GGUF" + struct.pack("<IQQ", 3, 1, 1)


def _keyed(kind: int, value: bytes) -> bytes:
    return _KEYED + gguf_key("k", kind, value)


# What would cost a reader memory or time: the small lies stand in the tests of each format.
LIES: Mapping[str, Lie] = {
    "a safetensors header of 100 MB": Lie(safetensors.read, _claims(100_000_000) + b"{", b" ", TIB),
    "a safetensors header of 2^63": Lie(safetensors.read, _claims(1 << 63) + b"{", b" ", TIB),
    "16 MiB of spaces": Lie(safetensors.read, _claims(16 * _MIB) + b"{", b" ", TIB),
    "16 MiB of braces": Lie(safetensors.read, _claims(16 * _MIB), b"{", TIB),
    "16 MiB of nested objects": Lie(safetensors.read, _claims(16 * _MIB), b'{"a":', TIB),
    "16 MiB of nested arrays": Lie(safetensors.read, _claims(16 * _MIB) + b'{"a":', b"[", TIB),
    "16 MiB of one string": Lie(safetensors.read, _claims(16 * _MIB) + b'{"', b"a", TIB),
    "16 MiB of escapes": Lie(safetensors.read, _claims(16 * _MIB) + b'{"', b"\\n", TIB),
    "16 MiB of backslashes": Lie(safetensors.read, _claims(16 * _MIB) + b'{"', b"\\", TIB),
    "16 MiB of one shape": Lie(safetensors.read, _claims(16 * _MIB) + b'{"a":{"dtype":"F32","shape":[1', b",1", TIB),
    "16 MiB of empty metadata": Lie(safetensors.read, _claims(16 * _MIB) + b'{"__metadata__":{"":""', b',"":""', TIB),
    "16 MiB of empty tensors": Lie(
        safetensors.read,
        _claims(16 * _MIB) + b'{"":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}',
        b',"":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}',
        TIB,
    ),
    "metadata as long as the header": Lie(
        safetensors.read,
        safetensors_file({"__metadata__": {f"{n:x}": "" for n in range(400_000)}}, 0),
    ),
    "as many tensors as a header holds": Lie(
        safetensors.read, safetensors_file({f"{n:x}": tensor("U8", [1], n, n + 1) for n in range(200_000)}, 0)
    ),
    "tensors up to the limit, then a hole": Lie(
        safetensors.read, safetensors_file({f"{n:x}": tensor("U8", [1], n, n + 1) for n in range(65_535)}, 9)
    ),
    "an index of 1 GiB": Lie(safetensors.read_index, b'{"weight_map":{"":""', b',"":""', 1 << 30),
    "an index of 32 MiB of entries": Lie(safetensors.read_index, b'{"weight_map":{"":""', b',"":""', 32 * _MIB),
    "an index of nested objects": Lie(safetensors.read_index, b"", b'{"weight_map":', 32 * _MIB),
    "an index of 100,000 shards": Lie(
        safetensors.read_index, json.dumps({"weight_map": {f"{n}": f"{n}" for n in range(100_000)}}).encode()
    ),
    "a GGUF array of 2^40 numbers": Lie(gguf.read, _keyed(9, gguf_array(4, 1 << 40)), size=TIB),
    "a GGUF array of 2^40 strings": Lie(gguf.read, _keyed(9, gguf_array(8, 1 << 40)), size=TIB),
    "2^21 empty strings": Lie(gguf.read, _keyed(9, gguf_array(8, 2_097_152)), size=TIB),
    "2^21 strings of 200 bytes": Lie(
        gguf.read, _keyed(9, gguf_array(8, 2_097_152)), struct.pack("<Q", 200) + bytes(200), TIB
    ),
    "a GGUF string of 2^62": Lie(gguf.read, _keyed(8, struct.pack("<Q", 1 << 62)), size=TIB),
    "a GGUF string of 2^62 in an array": Lie(
        gguf.read, _keyed(9, gguf_array(8, 2, struct.pack("<Q", 1 << 62))), size=TIB
    ),
    "GGUF arrays in arrays": Lie(gguf.read, _keyed(9, b""), struct.pack("<IQ", 9, 1), TIB),
    "2^63 GGUF tensors": Lie(gguf.read, b"GGUF" + struct.pack("<IQQ", 3, 1 << 63, 0), size=TIB),
    "2^63 GGUF keys": Lie(gguf.read, b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 63), size=TIB),
    "a GGUF key of 2^40": Lie(gguf.read, _KEYED + struct.pack("<Q", 1 << 40), size=TIB),
    "as many arrays as keys may be": Lie(
        gguf.read,
        b"GGUF"
        + struct.pack("<IQQ", 3, 1, 1024)
        + b"".join(gguf_key(f"k{n}", 9, gguf_array(10, 256, b"\xff" * 2048)) for n in range(1024)),
        size=TIB,
    ),
    "as many tensors as may be, on one place": Lie(
        gguf.read, gguf_file(infos=[Info(f"{n:060}", (1, 1, 1, 1)) for n in range(gguf.MAX_TENSORS)])
    ),
}


def _outcome(lie: Lie) -> str:
    try:
        drive_reading(lie.read(lie.whole_size), lie.ranged)
    except InvalidHeader as error:
        return f"refused: {error}"
    except MemoryError:
        return "out of memory"
    return "believed"


def _main() -> None:
    mapped = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_BYTES, mapped + MEMORY_BYTES))
    outcomes = {}
    for name, lie in LIES.items():
        started = time.process_time()
        outcome = _outcome(lie)
        outcomes[name] = {"outcome": outcome, "seconds": round(time.process_time() - started, 3)}
    json.dump(outcomes, sys.stdout, indent=1)


if __name__ == "__main__":
    _main()
