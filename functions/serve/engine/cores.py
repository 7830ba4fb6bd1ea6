"""How many threads the CPU build of vLLM computes with. Pure but for two files of the kernel."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_GPU: Final = Path("/dev/nvidiactl")
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def environment() -> Mapping[str, str]:
    """OMP_NUM_THREADS for the CPU build, which cannot bind its threads to cores inside one process; empty with a GPU.

    One core stays free for the API's process, as vLLM itself reserves one. Without this OpenMP takes every core, its
    threads wait for each other at each of thousands of barriers a second, and whoever shares the machine doubles the
    time per token (docs/decisions/0005-engine-start.md).
    """
    if _GPU.exists():
        return {}
    quota = _QUOTA.read_text(encoding="ascii") if _QUOTA.exists() else "max 100000"
    return {"OMP_NUM_THREADS": str(threads(len(os.sched_getaffinity(0)), quota))}


def threads(cores: int, quota: str) -> int:
    """cores: those that the process may run on. quota: cgroup v2's `cpu.max`, "<us or max> <period us>"."""
    share, period = quota.split()
    allowed = cores if share == "max" else min(cores, math.ceil(int(share) / int(period)))
    return max(1, allowed - 1)
