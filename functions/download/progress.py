"""Progress while a slice works: stored twice a second at most, which also renews the worker's lease."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from functions.download.files import FileRow, FileRows

T = TypeVar("T")

BEAT_S: Final = 0.5
# With nothing new to tell, the lease alone is renewed this often.
QUIET_S: Final = 4.0
# Weight of the newest half second in the shown rate: steady enough to read, quick enough to notice a stall.
WEIGHT: Final = 0.3


async def keep_beating(work: Coroutine[Any, Any, T], file: FileRow, rows: FileRows, beat_s: float = BEAT_S) -> T:
    """The result of `work`, with `file` stored as it changes. Raises LeaseLost, having cancelled the work."""
    ended = asyncio.Event()
    task = asyncio.create_task(work)
    pulse = asyncio.create_task(_pulse(file, rows, ended, beat_s))
    try:
        await asyncio.wait({task, pulse}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            pulse.result()
        return await task
    finally:
        task.cancel()
        # Asked to end and not cancelled: a beat whose answer is thrown away has moved the lease behind our back.
        ended.set()
        await asyncio.gather(task, pulse, return_exceptions=True)


async def _pulse(file: FileRow, rows: FileRows, ended: asyncio.Event, beat_s: float) -> None:
    meter = Meter(file.bytes_done, time.monotonic())
    stored_at, stored = time.monotonic(), file.bytes_done
    while not await _set_within(ended, beat_s):
        now = time.monotonic()
        file.rate_bps = meter.rate(file.bytes_done, now)
        if file.bytes_done != stored or now - stored_at >= QUIET_S:
            await rows.beat(file)
            stored_at, stored = now, file.bytes_done


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


class Meter:
    """Bytes per second as an exponential moving average."""

    def __init__(self, count: int, now: float) -> None:
        self._count = count
        self._at = now
        self._rate: float | None = None

    def rate(self, count: int, now: float) -> float:
        """The rate after `count` bytes at `now` (seconds of any clock). Never negative: a restart is no speed."""
        newest = max(0.0, (count - self._count) / max(now - self._at, 1e-6))
        self._rate = newest if self._rate is None else WEIGHT * newest + (1 - WEIGHT) * self._rate
        self._count, self._at = count, now
        return self._rate
