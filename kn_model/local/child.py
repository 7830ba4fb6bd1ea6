"""Start and stop one operating-system process that must not outlive the runtime.

Called by everything that starts a process: PostgreSQL, SeaweedFS, Jobs. The promise it keeps is "no orphan": the kernel
signals the child when the runtime dies, however it dies (`prctl(2)`, PR_SET_PDEATHSIG).
"""

import asyncio
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h
TAIL_BYTES = 4096  # enough of a log's end to hold its last message

# Loaded once, before any fork: between fork and exec nothing may be imported.
LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Command:
    """What to run: `argv`, its whole environment, where, and the file that its output is appended to."""

    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    cwd: Path | None = None
    # Sent by the kernel when the runtime dies. SIGKILL suits whatever recovers from it; it cannot be ignored.
    death_signal: signal.Signals = signal.SIGKILL
    # Runs in the child before exec, e.g. to give up root.
    prepare: Callable[[], None] | None = None


def start(command: Command) -> subprocess.Popen[bytes]:
    """Start it in its own process group, output to its log. OSError when it cannot be executed."""
    command.log.parent.mkdir(parents=True, exist_ok=True)
    parent = os.getpid()
    with command.log.open("ab") as log:
        return subprocess.Popen(
            list(command.argv),
            env=dict(command.env),
            cwd=command.cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Its own group: Ctrl-C in the terminal reaches the supervisor alone, which then stops things in order.
            process_group=0,
            preexec_fn=lambda: _before_exec(command, parent),  # noqa: PLW1509 - only ctypes runs between fork and exec
        )


async def exited(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a process without polling; its return code, negative for a signal."""
    if process.poll() is None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        descriptor = os.pidfd_open(process.pid)
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
    return process.wait()


async def stop(process: subprocess.Popen[bytes], *, ask: signal.Signals, grace_s: float) -> None:
    """Ask it to end; after `grace_s` seconds end its whole process group. Returns when it is gone."""
    if process.poll() is None:
        process.send_signal(ask)
        try:
            await asyncio.wait_for(exited(process), grace_s)
        except TimeoutError:
            kill(process)
            await exited(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """End it and every process of its group at once."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def end_strays(logs: Path) -> int:
    """Kill what an earlier runtime left behind, by what it writes to: a log under `logs`. How many there were.

    The kernel ends our children with us, but not theirs: an engine's workers may outlive a kill -9.
    """
    strays = [pid for pid in _processes() if pid != os.getpid() and _writes_under(pid, logs)]
    for pid in strays:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return len(strays)


def last_line(log: Path) -> str:
    """The last line of a log that says something, for a message to a person; "" when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _processes() -> Iterable[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def _writes_under(pid: int, logs: Path) -> bool:
    try:
        return (Path("/proc") / str(pid) / "fd" / "1").readlink().is_relative_to(logs)
    except OSError:  # gone meanwhile, or another user's
        return False


def _before_exec(command: Command, parent: int) -> None:
    """In the child: give up root first (changing credentials clears the death signal), then ask for the signal."""
    if command.prepare is not None:
        command.prepare()
    refused = LIBC.prctl(PR_SET_PDEATHSIG, int(command.death_signal), 0, 0, 0)
    if refused or os.getppid() != parent:  # it died between fork and prctl: nobody will ever send the signal
        os._exit(1)
