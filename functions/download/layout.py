"""How a file is cut into parts, and which of them are still to be fetched: pure arithmetic on sizes.

Parts are numbered from 1, as S3 does; spans are [start, end) in bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

MIB: Final = 1024 * 1024
# Limits of S3 multipart uploads.
MAX_PARTS: Final = 10_000


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


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where a file stands. todo: parts to fetch, in order. hashing: whether the digest can follow the stream.

    It cannot when S3 holds a part beyond the stored digest (a worker died between storing the part and the digest):
    that part is not fetched again, so the digest is finished afterwards by reading the stored object back.
    """

    todo: Sequence[Span]
    hashing: bool
    bytes_held: int


def part_size(size: int, smallest: int) -> int:
    """Bytes of each part but the last: `smallest`, or whole MiB beyond it so that MAX_PARTS parts suffice."""
    needed = -(-size // MAX_PARTS)
    return max(smallest, -(-needed // MIB) * MIB)


def spans(size: int, part_bytes: int) -> list[Span]:
    """All parts of a file of `size` bytes."""
    starts = range(0, size, part_bytes)
    return [Span(number, start, min(start + part_bytes, size)) for number, start in enumerate(starts, 1)]


def resume(all_spans: Sequence[Span], held: Mapping[int, int], digest_offset: int) -> Resumption | None:
    """What is left, given the parts that S3 holds (number -> size) and the bytes that the digest has seen.

    None when the two contradict each other (the digest covers a part that is not there): start the file anew.
    """
    present = [span for span in all_spans if held.get(span.number) == span.size]
    numbers = {span.number for span in present}
    todo = [span for span in all_spans if span.number not in numbers]
    covered = [span for span in all_spans if span.end <= digest_offset]
    if any(span.number not in numbers for span in covered) or digest_offset != sum(span.size for span in covered):
        return None
    return Resumption(todo, len(covered) == len(present), sum(span.size for span in present))
