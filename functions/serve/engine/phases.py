"""Where a cold start's time goes: the moments of this process's start, for the log and for `engine.started`.

One process starts once, so its moments are kept here: `start` notes them, and the edge, which vLLM constructs from a
class alone, reports them.
"""

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from functions.kit.events import EngineStarted

FETCHED: Final = "fetched"
LOADED: Final = "loaded"
_MOMENTS: Final[dict[str, float]] = {}


def since_start() -> float:
    """Seconds since the kernel started this process (proc(5), field 22), so that the interpreter's own start counts."""
    after_name = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    started = int(after_name[19]) / os.sysconf("SC_CLK_TCK")
    return round(time.clock_gettime(time.CLOCK_BOOTTIME) - started, 2)


def note(step: str, at_s: float | None = None) -> None:
    """A step is done: now, or at_s seconds after the process began."""
    _MOMENTS[step] = since_start() if at_s is None else at_s


def started(server: str, revision: str, ready_s: float, now: datetime) -> EngineStarted:
    """The report of a start that took ready_s until now."""
    return described(server, revision, ready_s, now, _MOMENTS)


def described(server: str, revision: str, ready_s: float, now: datetime, moments: Mapping[str, float]) -> EngineStarted:
    """The same of given moments (seconds since the process began). Pure."""
    began = (now - timedelta(seconds=ready_s)).astimezone(UTC)
    return EngineStarted(
        server,
        revision,
        began.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        _milliseconds(moments.get(FETCHED)),
        _milliseconds(moments.get(LOADED)),
        round(ready_s * 1000),
    )


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
