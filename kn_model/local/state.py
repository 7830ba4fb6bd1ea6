"""The runtime's folder: who runs in it, where its parts keep their files, and how others find it.

Called by the supervisor (`State.lock`, `record`) and by `kn model` (`read`, `stop`). The truth about "is it running" is
the lock, which the kernel releases when its holder dies; `runtime.json` only says more about the holder.
"""

import base64
import fcntl
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

# Two signals end the supervisor at once; a stopped one answers to neither.
ORDERLY_S: Final = 30.0
AT_ONCE_S: Final = 5.0
LOCK_TRIES: Final = 10
LOCK_PAUSE_S: Final = 0.03


class FolderError(Exception):
    """The folder cannot be used"""


class AlreadyRunning(FolderError):
    """Another runtime runs in this folder."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        super().__init__(
            f"a runtime already runs in {folder} (pid {pid or 'unknown'}): use it, end it with `kn model down`, "
            "or choose another folder with --dir"
        )
        self.pid = pid


@dataclass(frozen=True)
class Runtime:
    """What `runtime.json` says of a running runtime. `started_at` is RFC 3339."""

    pid: int
    url: str
    kube_url: str
    started_at: str


@dataclass(frozen=True)
class State:
    """The paths inside one folder."""

    folder: Path

    @property
    def kubeconfig(self) -> Path:
        """For kubectl and kn."""
        return self.folder / "kubeconfig"

    @property
    def logs(self) -> Path:
        """`<service>/<instance>.log`, and a file for each dependency."""
        return self.folder / "logs"

    @property
    def pods(self) -> Path:
        """Volumes of running instances."""
        return self.folder / "pods"

    @contextmanager
    def short_pods(self) -> Iterator[Path]:
        """Another path to `pods`, short wherever the folder lies: a Unix socket's path ends at 107 characters."""
        self.pods.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="torpor-") as short:
            link = Path(short) / "pods"
            link.symlink_to(self.pods.resolve())
            yield link

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process. AlreadyRunning names who holds it; FolderError says why it is unusable."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Nobody else's business: keys, tokens and data lie here.
            self.folder.chmod(0o700)
            file = (self.folder / "lock").open("a+")
        except OSError as error:
            raise FolderError(
                f"cannot keep files in {self.folder}: {error.strerror}. Choose another with --dir"
            ) from error
        with file:
            if not _lock(file.fileno()):
                raise AlreadyRunning(self.folder, _holder(self.folder))
            # A killed holder's: whoever waits for us must not take its address for ours.
            self._forget()
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            try:
                yield
            finally:
                self._forget()

    def _forget(self) -> None:
        (self.folder / "runtime.json").unlink(missing_ok=True)

    def record(self, runtime: Runtime, token: str, ca: Path) -> None:
        """Tell others how to reach us: `runtime.json` and a kubeconfig with the administrator's token.

        ca: the PEM file of the API's certificate.
        """
        text = yaml.safe_dump(kubeconfig(runtime.kube_url, token, ca.read_bytes()), sort_keys=False)
        write_private(self.kubeconfig, text)
        write_private(self.folder / "runtime.json", json.dumps(vars(runtime)))


def kubeconfig(server: str, token: str, ca: bytes) -> Mapping[str, object]:
    """A kubeconfig for one administrator of one API."""
    name, trust = "torpor", base64.b64encode(ca).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": trust}}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "torpor"}}],
    }


def read(folder: Path) -> Runtime | None:
    """The runtime that runs in `folder` and is ready; None when there is none, whatever an old file says."""
    if not is_held(folder):
        return None
    try:
        return Runtime(**json.loads((folder / "runtime.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None  # still starting


def stop(folder: Path) -> bool:
    """End the runtime of `folder` and wait for it: orderly, then at once, then by force. False when none runs."""
    for number, patience in ((signal.SIGTERM, ORDERLY_S), (signal.SIGTERM, AT_ONCE_S), (signal.SIGKILL, AT_ONCE_S)):
        pid = _holder(folder)
        if not is_held(folder) or pid is None:
            return number is not signal.SIGTERM or patience != ORDERLY_S
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        if _released(folder, patience):
            return True
    raise FolderError(f"the runtime in {folder} (pid {_holder(folder)}) does not end")


def is_held(folder: Path) -> bool:
    """Whether some process holds the folder's lock."""
    try:
        with (folder / "lock").open("r+") as file:
            return not _try_lock(file.fileno())
    except OSError:
        return False


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, all at once: nobody sees half of it."""
    fresh = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)


def _released(folder: Path, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while is_held(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _holder(folder: Path) -> int | None:
    try:
        return int((folder / "lock").read_text())
    except (OSError, ValueError):
        return None


def _lock(descriptor: int) -> bool:
    """Take the lock. Who only asks whether it is held (`is_held`) has it for a moment, so one refusal says nothing."""
    for _ in range(LOCK_TRIES):
        if _try_lock(descriptor):
            return True
        time.sleep(LOCK_PAUSE_S)
    return False


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
