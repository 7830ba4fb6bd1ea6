"""The digest of a file while it streams: SHA-256, and git's blob id where the hub tells only that; both can be stored.

A transfer is cut into slices on different instances, so the state after each part goes into PostgreSQL and whoever has
the next part goes on from there. hashlib cannot give its state away; `rehashes` (RustCrypto, as fast) has a stable form
of it. With it goes the CRC32 of every part that it has seen: S3 is given them when the upload is completed, and refuses
parts that are others than those that were hashed.
"""

import struct
from array import array
from typing import Final, Self

import rehashes
from isal import isal_zlib

# Version, bytes seen, length of SHA-256's state, parts seen.
_HEAD: Final = struct.Struct(">BQII")
_VERSION: Final = 2
# rehashes holds the interpreter's lock while it hashes: 1 MiB is a millisecond in which nothing else runs.
_STEP: Final = 1024 * 1024


def crc32(data: bytes | bytearray) -> int:
    """What S3 checks of a part: by ISA-L, 0.02 s of a core per GiB, where zlib's takes 0.28."""
    return int(isal_zlib.crc32(data))


class Digest:
    """Bytes in order, digests out. offset: how many bytes went in. crc32s: of the parts that were added, in order."""

    def __init__(self, size: int, *, with_git_oid: bool) -> None:
        """size: of the whole file in bytes; git puts it in front of the content."""
        self.offset = 0
        self.crc32s = array("I")
        self._sha256 = rehashes.PySha256()
        self._sha1 = rehashes.PySha1() if with_git_oid else None
        if self._sha1 is not None:
            self._sha1.update(f"blob {size}\0".encode())

    def update(self, data: bytes | bytearray) -> None:
        """Add the bytes that follow those before. About 1 GB/s; call it in a thread."""
        view = memoryview(data)
        for start in range(0, len(data), _STEP):
            piece = bytes(view[start : start + _STEP])
            self._sha256.update(piece)
            if self._sha1 is not None:
                self._sha1.update(piece)
        self.offset += len(data)

    def add_part(self, data: bytes | bytearray, crc32: int) -> None:
        """Add the part that follows those before; crc32: what S3 was told of it."""
        self.update(data)
        self.crc32s.append(crc32)

    def dump(self) -> bytes:
        """The state: a head, both states (under 300 bytes), and four bytes a part."""
        sha256: bytes = self._sha256.serialize()
        sha1: bytes = self._sha1.serialize() if self._sha1 is not None else b""
        head = _HEAD.pack(_VERSION, self.offset, len(sha256), len(self.crc32s))
        return head + self.crc32s.tobytes() + sha256 + sha1

    @classmethod
    def load(cls, state: bytes) -> Self:
        """Go on from a dump. Raises ValueError for anything else."""
        if len(state) <= _HEAD.size:
            raise ValueError("the stored digest is truncated")
        version, offset, length, parts = _HEAD.unpack_from(state)
        if version != _VERSION:
            raise ValueError(f"the stored digest has version {version}")
        digest = cls(0, with_git_oid=False)
        digest.offset = offset
        hashes = _HEAD.size + parts * digest.crc32s.itemsize
        digest.crc32s.frombytes(state[_HEAD.size : hashes])
        digest._sha256 = rehashes.PySha256.deserialize(state[hashes : hashes + length])
        sha1 = state[hashes + length :]
        digest._sha1 = rehashes.PySha1.deserialize(sha1) if sha1 else None
        return digest

    @staticmethod
    def seen(state: bytes | None) -> int:
        """How many bytes a dump has seen; 0 without one."""
        return int(_HEAD.unpack_from(state)[1]) if state else 0

    def sha256(self) -> str:
        """SHA-256 of the bytes so far, in hex."""
        return str(self._sha256.finalize())

    def git_oid(self) -> str | None:
        """Git's blob id of the bytes so far, in hex, when it was asked for."""
        return str(self._sha1.finalize()) if self._sha1 is not None else None
