"""Where a cold start's time goes: seconds since this process began, for one log line per phase."""

import os
import time
from pathlib import Path


def since_start() -> float:
    """Seconds since the kernel started this process (proc(5), field 22), so that the interpreter's own start counts."""
    after_name = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    started = int(after_name[19]) / os.sysconf("SC_CLK_TCK")
    return round(time.clock_gettime(time.CLOCK_BOOTTIME) - started, 2)
