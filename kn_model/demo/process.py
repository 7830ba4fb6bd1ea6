"""Child processes of the demo: they end with it, however it ends. And what still runs below one of them."""

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

from kn_model.local import child

_GRACE_S: Final = 40.0
# The servers that keep data; everything else below the runtime is a function, a model or a Job.
DEPENDENCIES: Final = ("postgres", "weed")


@contextmanager
def ended_with_us(command: Sequence[str], *, log: Path, env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` with its output in `log` while the block runs; then ask it to end and wait."""
    process = child.start(child.Command(command, env, log, death_signal=signal.SIGTERM))
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL to its group when it does not end in time."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill(process)
        process.wait()


def below(pid: int) -> list[psutil.Process]:
    """All processes below `pid` that still run."""
    try:
        found = psutil.Process(pid).children(recursive=True)
        return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]
    except psutil.NoSuchProcess:
        return []


def instances(pid: int) -> list[str]:
    """Command lines of the functions and models that run below the runtime `pid`."""
    lines = []
    for process in below(pid):
        try:
            name, line = process.name(), " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        if not name.startswith(DEPENDENCIES):
            lines.append(line)
    return lines
