"""What is transferred: valid safetensors files of noise (or of nothing, for size alone) in a folder of shared memory."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20
_HEADER: Final = 200


@contextmanager
def repository(size: int, shards: int, *, sparse: bool = False) -> Iterator[Path]:
    """A folder with `shards` files of `size` bytes together, and `digests.json`."""
    folder = Path(tempfile.mkdtemp(prefix="torpor-payload-", dir=None if sparse else _memory()))
    try:
        names = [f"model-{number:05}-of-{shards:05}.safetensors" for number in range(1, shards + 1)]
        digests = {
            name: _file(folder / name, size // shards, f"w{number}", sparse=sparse) for number, name in enumerate(names)
        }
        (folder / "digests.json").write_text(json.dumps(digests))
        yield folder
    finally:
        shutil.rmtree(folder)


def _memory() -> str | None:
    """Where reading costs a copy and no disk; None where there is no such place."""
    shared = "/dev/shm"  # noqa: S108  # the folder in it has a random name and is this user's alone
    return shared if Path(shared).is_dir() else None


def _file(path: Path, size: int, tensor: str, *, sparse: bool) -> str:
    """Write one file with one tensor; answers its SHA-256."""
    import numpy as np

    data = size - 8 - _HEADER
    head = f'{{"{tensor}":{{"dtype":"U8","shape":[{data}],"data_offsets":[0,{data}]}}}}'
    start = _HEADER.to_bytes(8, "little") + head.ljust(_HEADER).encode()
    noise = np.random.default_rng(size)
    digest = hashlib.sha256(start)
    with path.open("wb") as file:
        file.write(start)
        for offset in range(0, data, 16 * MIB):
            piece = bytes(min(16 * MIB, data - offset)) if sparse else noise.bytes(min(16 * MIB, data - offset))
            digest.update(piece)
            if sparse:
                file.seek(len(piece), 1)
            else:
                file.write(piece)
        file.truncate(size)
    return digest.hexdigest()
