"""What the benchmark starts: servers, functions, the baseline's programs; and what they spent."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

ROOT: Final = Path(__file__).parents[3]


@contextmanager
def server(module: str, *arguments: str) -> Iterator[str]:
    """The address of a server of this folder, which prints its port."""
    command = [sys.executable, "-m", f"tests.bench.download.{module}", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True, slots=True)
class Spent:
    """Wall time and time of processors, in seconds; bytes that went to disks."""

    wall_s: float
    cpu_s: float
    written: int = 0


def cpu_of(processes: Sequence[psutil.Process]) -> float:
    """Seconds of processor that they took so far, with the children that have ended."""
    return sum(sum(process.cpu_times()[:4]) for process in processes)


def family(pid: int) -> list[psutil.Process]:
    """A process and everything below it."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def written_by(processes: Sequence[psutil.Process]) -> int:
    """Bytes that they sent to a disk."""
    return sum(process.io_counters().write_bytes for process in processes)


def peak_of(parent: psutil.Process, *workers: psutil.Process) -> int:
    """The most bytes that a process and its workers had resident: the workers' marks, and what is the parent's alone."""
    lines = [line for each in workers for line in Path(f"/proc/{each.pid}/status").read_text().splitlines()]
    marks = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    return marks + int(parent.memory_full_info().uss)


def run(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Run a program of the baseline to its end; answers its seconds of processor. Its words matter when it fails."""
    process = subprocess.Popen(
        command, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{said[-2000:]}")
    return usage.ru_utime + usage.ru_stime
