"""The figures that need a running runtime: memory of a download, first token through the front door, idle, outbox.

One runtime of its own, started and stopped here, with the real model: a few minutes.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

from kn_model import laptop
from kn_model.client import Client
from kn_model.demo import hub, story
from kn_model.demo.process import below
from kn_model.demo.runtime import RunningRuntime, runtime
from tests.bench import first_token, outbox
from tests.bench.folder import kept_on_failure
from tests.bench.report import Row

MIB: Final = 1 << 20
# A page cache or a last call may still settle; then this long is measured.
SETTLE_S: Final = 10.0
IDLE_S: Final = 60.0
DOWNLOAD_MB: Final = 250
# What its log may take: far below the smallest part of a model.
LOG_BYTES: Final = 1 << 16
IDLE_MB: Final = 350
IDLE_PERCENT: Final = 2.0
_SAMPLE_S: Final = 0.05


def rows() -> list[Row]:
    """Every figure of this file, in the order in which one runtime can give them."""
    with (
        kept_on_failure() as folder,
        _environment(folder),
        hub.small_hub(folder, print) as url,
        runtime(folder / "runtime", {"hf-endpoint": url}, print) as running,
    ):
        return _measured(running, running.log_in())


def _measured(running: RunningRuntime, client: Client) -> list[Row]:
    with Peak(running.pid, "download") as peak:
        model = story.pull(client)
    rows = [_download(peak, model["bytes_done"])]
    server = story.rollout(client, model)
    story.ask(client, server["name"])
    rows.append(first_token.row(running, server["name"]))
    rows.append(asyncio.run(outbox.row(laptop.cluster(running.kubeconfig), running)))
    story.fall_asleep(running, server["name"])
    return [*rows, *_idle(running)]


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """A login of this run's own."""
    before = os.environ.get("XDG_CONFIG_HOME")
    os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
    try:
        yield
    finally:
        os.environ.pop("XDG_CONFIG_HOME")
        if before is not None:
            os.environ["XDG_CONFIG_HOME"] = before


@dataclass
class Peak:
    """The largest resident memory, and the bytes written to disk, of one instance of a function below the runtime `pid`."""

    pid: int
    part: str
    rss: int = 0
    written: int = 0

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            instances: dict[str, list[psutil.Process]] = {}
            for process in below(self.pid):
                if f"/logs/{self.part}/" in (log := log_of(process)):
                    instances.setdefault(log, []).append(process)
            for family in instances.values():
                self.rss = max(self.rss, sum(_of(process, lambda p: p.memory_info().rss) for process in family))
                written = sum(_of(process, lambda p: p.io_counters().write_bytes) for process in family)
                self.written = max(self.written, written)


def log_of(process: psutil.Process) -> str:
    """Where the process writes, which is its instance's log: the workers of a server call themselves what they like."""
    try:
        return str(Path(f"/proc/{process.pid}/fd/2").readlink())
    except OSError:
        return ""


def _of(process: psutil.Process, figure: Callable[[psutil.Process], int]) -> int:
    try:
        return figure(process)
    except psutil.Error:
        return 0


def _download(peak: Peak, size: int) -> Row:
    megabytes = peak.rss / MIB
    return Row(
        "download of the model into S3: resident memory of an instance (master and worker), bytes it wrote to disk (its log)",
        f"{megabytes:.0f} MB, {peak.written} B",
        f"{size / MIB:.0f} MB, the model",
        f"{megabytes:.0f} MB",
        f"<= {DOWNLOAD_MB} MB, nothing of the model",
        megabytes <= DOWNLOAD_MB and peak.written <= LOG_BYTES,
    )


def _idle(running: RunningRuntime) -> list[Row]:
    """Once everything is asleep and no call is open."""
    time.sleep(SETTLE_S)
    supervisor = psutil.Process(running.pid)
    family = [supervisor, *below(running.pid)]
    resident = sum(process.memory_info().rss for process in family) / MIB
    proportional = sum(process.memory_full_info().pss for process in family) / MIB
    before, woken = {process.pid: _spent(process) for process in family}, _spent_by_ended_children(supervisor)
    time.sleep(IDLE_S)
    own = sum(_spent(process) - before[process.pid] for process in family if process.is_running())
    ticked = own + _spent_by_ended_children(supervisor) - woken
    what = "runtime idle, all at zero: supervisor + PostgreSQL + S3"
    return [
        Row(
            f"{what}, resident",
            f"{resident:.0f} MB ({proportional:.0f} MB counting shared pages once)",
            "-",
            f"{resident:.0f} MB",
            f"<= {IDLE_MB} MB",
            resident <= IDLE_MB,
        ),
        _percent(f"{what}, of one core", own, IDLE_PERCENT),
        _percent("the same with the functions that one tick a minute wakes", ticked, None),
    ]


def _percent(what: str, seconds: float, aim: float | None) -> Row:
    percent = 100 * seconds / IDLE_S
    asked = f"< {aim} %" if aim is not None else "-"
    return Row(what, f"{percent:.2f} %", "-", f"{percent:.2f} %", asked, aim is None or percent < aim)


def _spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _spent_by_ended_children(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.children_user + times.children_system)
