"""The digest of a file while it streams: SHA-256, and git's blob id where the hub tells only that; both can be stored.

A transfer is cut into slices on different instances, so the state after each part goes into PostgreSQL and the next
slice goes on from there. hashlib cannot give its state away; `rehashes` (RustCrypto, as fast) has a stable form of it.
"""

import struct
from typing import Final, Self

import rehashes

_HEAD: Final = struct.Struct(">BQI")
_VERSION: Final = 1
# rehashes holds the interpreter's lock while it hashes: 1 MiB is a millisecond in which nothing else runs.
_STEP: Final = 1024 * 1024


class Digest:
    """Bytes in order, digests out. offset: how many bytes went in."""

    def __init__(self, size: int, *, with_git_oid: bool) -> None:
        """size: of the whole file in bytes; git puts it in front of the content."""
        self.offset = 0
        self._sha256 = rehashes.PySha256()
        self._sha1 = rehashes.PySha1() if with_git_oid else None
        if self._sha1 is not None:
            self._sha1.update(f"blob {size}\0".encode())

    def update(self, data: bytes) -> None:
        """Add the bytes that follow those before. About 1 GB/s; call it in a thread."""
        for start in range(0, len(data), _STEP):
            piece = data[start : start + _STEP]
            self._sha256.update(piece)
            if self._sha1 is not None:
                self._sha1.update(piece)
        self.offset += len(data)

    def dump(self) -> bytes:
        """The state, under 300 bytes: version, offset, length of the first state, both states."""
        sha256: bytes = self._sha256.serialize()
        sha1: bytes = self._sha1.serialize() if self._sha1 is not None else b""
        return _HEAD.pack(_VERSION, self.offset, len(sha256)) + sha256 + sha1

    @classmethod
    def load(cls, state: bytes) -> Self:
        """Go on from a dump. Raises ValueError for anything else."""
        if len(state) <= _HEAD.size:
            raise ValueError("the stored digest is truncated")
        version, offset, length = _HEAD.unpack_from(state)
        if version != _VERSION:
            raise ValueError(f"the stored digest has version {version}")
        digest = cls(0, with_git_oid=False)
        digest.offset = offset
        digest._sha256 = rehashes.PySha256.deserialize(state[_HEAD.size : _HEAD.size + length])
        sha1 = state[_HEAD.size + length :]
        digest._sha1 = rehashes.PySha1.deserialize(sha1) if sha1 else None
        return digest

    def sha256(self) -> str:
        """SHA-256 of the bytes so far, in hex."""
        return str(self._sha256.finalize())

    def git_oid(self) -> str | None:
        """Git's blob id of the bytes so far, in hex, when it was asked for."""
        return str(self._sha1.finalize()) if self._sha1 is not None else None
