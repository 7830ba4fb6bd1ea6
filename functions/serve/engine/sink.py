"""Where the fetch puts weights: sealed memory files, or files on disk. Both appear in the model's directory.

A memory file (memfd) is reached through `/proc/<pid>/fd/<n>`, so its process has to live until vLLM has loaded it.
"""

import fcntl
import os
from pathlib import Path
from typing import Final, Protocol

# No more writing, growing, shrinking, and no taking these promises back (memfd_create(2), Linux 3.17).
_IMMUTABLE: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


class Sink(Protocol):
    """One file being written, in order."""

    def write(self, data: bytes) -> None:
        """Append; blocks, so call it in a thread."""

    def finish(self) -> None:
        """All bytes are in: make the file immutable as far as it can be, and show it in the directory."""

    def close(self) -> None:
        """The engine has loaded it: give the memory or the disk back."""


class MemorySink:
    """A sealed memory file, shown in the directory as a link."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._file = os.memfd_create(target.name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)

    def write(self, data: bytes) -> None:
        """See Sink."""
        _write_all(self._file, data)

    def finish(self) -> None:
        """See Sink."""
        fcntl.fcntl(self._file, fcntl.F_ADD_SEALS, _IMMUTABLE)
        self._target.symlink_to(f"/proc/{os.getpid()}/fd/{self._file}")

    def close(self) -> None:
        """See Sink."""
        self._target.unlink(missing_ok=True)
        os.close(self._file)


class DiskSink:
    """A read-only file in the model's private directory."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)

    def write(self, data: bytes) -> None:
        """See Sink."""
        _write_all(self._file, data)

    def finish(self) -> None:
        """See Sink."""
        os.close(self._file)

    def close(self) -> None:
        """See Sink."""
        self._target.unlink(missing_ok=True)


def open_sink(kind: str, target: Path) -> Sink:
    """kind: `memory` or `disk`."""
    return MemorySink(target) if kind == "memory" else DiskSink(target)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
