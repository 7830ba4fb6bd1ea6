"""Where a file lies in the bucket, how it is cut into parts, and which of them count: pure.

Parts are numbered from 1, as S3 does; spans are [start, end) in bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

MIB: Final = 1024 * 1024
# Limits of S3 multipart uploads.
MAX_PARTS: Final = 10_000
# What one of several workers at a file leases at a time. A worker has memory for a whole stretch before it leases one, and keeps it until all before it is hashed: so short.
# But not one part, since the digest takes some milliseconds to change hands.
STRETCH_PARTS: Final = 2
# One object per content; what nobody has verified lies elsewhere.
BLOBS: Final = "blobs/sha256/"
STAGING: Final = "staging/"
LEGACY: Final = "models/"


class Wanted(Protocol):
    """A file of a model: sha256 in hex where its source has promised one, or it has been verified."""

    model_uuid: str
    path: str
    sha256: str | None


def blob_key(sha256: str) -> str:
    """Where content of that SHA-256 (64 hex digits) lies. Only bytes that were verified may become visible there."""
    return f"{BLOBS}{sha256[:2]}/{sha256}"


def staging_key(model_uuid: str, path: str) -> str:
    """Where a file lies until its digest is known; with an empty path, the prefix of all of a model's."""
    return f"{STAGING}{model_uuid}/{path}"


def upload_key(file: Wanted) -> str:
    """Where a transfer uploads to: the blob itself when the digest is known beforehand, a place of its own otherwise.

    An upload to a blob's key is completed only after the whole stream had the promised digest. A transfer that can take
    the digest only of the completed object (read back, or copied by the server) uploads to `staging_key`, from where
    `blobs.copying` copies it.
    """
    return blob_key(file.sha256) if file.sha256 else staging_key(file.model_uuid, file.path)


def legacy_key(model_uuid: str, path: str) -> str:
    """Where models lie whose manifest names no keys: they were downloaded before there were blobs."""
    return f"{LEGACY}{model_uuid}/{path}"


def is_blob(key: str) -> bool:
    """Whether what becomes visible under this key has to be verified before."""
    return key.startswith(BLOBS)


@dataclass(frozen=True, slots=True)
class Span:
    """One part of a file."""

    number: int
    start: int
    end: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start


def part_size(size: int, smallest: int) -> int:
    """Bytes of each part but the last: `smallest`, or whole MiB beyond it so that MAX_PARTS parts suffice."""
    needed = -(-size // MAX_PARTS)
    return max(smallest, -(-needed // MIB) * MIB)


def spans(size: int, part_bytes: int) -> list[Span]:
    """All parts of a file of `size` bytes."""
    starts = range(0, size, part_bytes)
    return [Span(number, start, min(start + part_bytes, size)) for number, start in enumerate(starts, 1)]


def covers(all_spans: Sequence[Span], held: Mapping[int, int], digest_offset: int) -> bool:
    """Whether S3 holds (number -> size) what the digest has seen: whole parts, all of them.

    Otherwise the file begins anew. Parts past the digest do not count: nobody has hashed what lies there.
    """
    seen = [span for span in all_spans if span.end <= digest_offset]
    return digest_offset == sum(span.size for span in seen) and all(held.get(s.number) == s.size for s in seen)
