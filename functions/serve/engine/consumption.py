"""What an engine really uses: memory and CPU, as whoever enforces its limits counts them. Goes with every batch of usage.

In a pod that is the container's cgroup; on a laptop, where instances have none, the engine's processes (proc(5)). An
engine on GPUs uses their memory, which is what its contract is about: NVIDIA's library says how much.
"""

import ctypes
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MIB: Final = 1 << 20
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
# Columns of /proc/<pid>/statm, and of /proc/<pid>/stat after the name (utime, stime).
_RESIDENT, _SHARED = 1, 2
_CPU: Final = slice(11, 13)
_LOG = logging.getLogger("torpor.usage")


@dataclass(frozen=True, slots=True)
class Consumption:
    """memory_mb: in MB of 2^20 bytes. cpu_percent: of one core, since the last look; 0 at the first."""

    memory_mb: int
    cpu_percent: float


class Meter:
    """Looks from time to time. A look costs microseconds: it reads a few small files."""

    def __init__(self, *, in_pod: bool, proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> None:
        self._in_pod = in_pod and (cgroup / "memory.current").exists()
        self._proc = proc
        self._cgroup = cgroup
        self._gpus = _Gpus()
        self._blind = False
        self._last: tuple[float, float] | None = None

    def look(self) -> Consumption | None:
        """What is used now; None, for good, once that cannot be read: no figure is worth the usage that it goes with."""
        if self._blind:
            return None
        try:
            return self._look()
        except (OSError, ValueError) as error:
            self._blind = True
            _LOG.warning("what this engine uses cannot be measured: %s", error)
            return None

    def _look(self) -> Consumption:
        now = (time.monotonic(), self._cpu_s())
        before, self._last = self._last or now, now
        wall = now[0] - before[0]
        percent = 100 * (now[1] - before[1]) / wall if wall > 0 else 0.0
        memory = self._gpus.used() or self._memory()
        return Consumption(round(memory / MIB), round(max(0.0, percent), 1))

    def _memory(self) -> int:
        """Bytes; the page cache, which the kernel takes back before it ends anybody, is left out."""
        if not self._in_pod:
            return sum(_held(statm) for statm in self._files("statm"))
        inactive = _values((self._cgroup / "memory.stat").read_text()).get("inactive_file", 0)
        return int((self._cgroup / "memory.current").read_text()) - inactive

    def _cpu_s(self) -> float:
        if not self._in_pod:
            return sum(_worked(stat) for stat in self._files("stat")) / _TICKS
        return _values((self._cgroup / "cpu.stat").read_text()).get("usage_usec", 0) / 1e6

    def _files(self, name: str, pid: str = "self") -> Iterator[str]:
        """This file of the process and of all its descendants; those that end meanwhile are left out."""
        folder = self._proc / pid
        try:
            yield (folder / name).read_text(encoding="ascii", errors="replace")
            own = str(folder.readlink()) if pid == "self" else pid
            children = (folder / "task" / own / "children").read_text(encoding="ascii").split()
        except (FileNotFoundError, ProcessLookupError):
            return
        for child in children:
            yield from self._files(name, child)


class _Gpus:
    """Memory in use on all GPUs of this container, which are its alone."""

    def __init__(self) -> None:
        self._library: Any = None
        self._handles: list[ctypes.c_void_p] = []
        if Path("/proc/driver/nvidia").exists():
            self._open()

    def used(self) -> int:
        """Bytes; 0 without GPUs."""
        return sum(self._used(handle) for handle in self._handles)

    def _open(self) -> None:
        try:
            self._library = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            return
        count = ctypes.c_uint()
        if self._library.nvmlInit_v2() or self._library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return
        for index in range(count.value):
            handle = ctypes.c_void_p()
            if not self._library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)):
                self._handles.append(handle)

    def _used(self, handle: ctypes.c_void_p) -> int:
        # nvmlMemory_t: total, free, used.
        memory = (ctypes.c_ulonglong * 3)()
        failed = self._library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
        return 0 if failed else int(memory[2])


def _held(statm: str) -> int:
    """Without what is shared with other files' readers, as the laptop's limit counts (kn_model/local/serving/memory.py)."""
    columns = statm.split()
    return (int(columns[_RESIDENT]) - int(columns[_SHARED])) * _PAGE


def _worked(stat: str) -> int:
    """Clock ticks. The name in the second column may hold spaces and parentheses."""
    return sum(int(column) for column in stat.rpartition(")")[2].split()[_CPU])


def _values(text: str) -> dict[str, int]:
    """`name number` lines."""
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}
