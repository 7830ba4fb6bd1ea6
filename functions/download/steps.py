"""How the readers of file headers ask for bytes: generators that yield ranges and are sent their bytes. No I/O here.

A reader bounds what it asks for by what it has seen, so the same code reads a test's bytes and gigabytes in S3.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")
# A range is [start, end) in bytes; what is sent in is exactly that long.
Steps: TypeAlias = Generator[tuple[int, int], bytes, T]


class InvalidHeader(ValueError):
    """The file is not of its format, or lies about what it holds; the message says how."""


async def follow(steps: Steps[T], read: Callable[[int, int], Awaitable[bytes]]) -> T:
    """Run a reader to its result, each step in a thread: a hostile header may take a good part of a second.

    read: the bytes start..end-1. Raises InvalidHeader, and what `read` raises.
    """
    wanted, result = await asyncio.to_thread(_advance, steps, None)
    while wanted is not None:
        data = await read(*wanted)
        wanted, result = await asyncio.to_thread(_advance, steps, data)
    return result[0]


def _advance(steps: Steps[T], data: bytes | None) -> tuple[tuple[int, int] | None, list[T]]:
    """The next range, or None and the result: StopIteration itself cannot leave a thread."""
    try:
        return (next(steps) if data is None else steps.send(data)), []
    except StopIteration as end:
        return None, [end.value]
