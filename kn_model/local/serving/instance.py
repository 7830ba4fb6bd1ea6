"""One running copy of a revision: a process, its probes, and what became of it.

Made by `launcher.py`, held by `replicas.py`. The process dies with the supervisor, whatever happens to that (`child.py`).
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kn_model.local import child
from kn_model.local.serving import volumes
from kn_model.local.serving.pod_plan import Plan
from kn_model.local.serving.probe import Probe, probe

STOP_GRACE_S: Final = 10.0
"""SIGKILL comes this long after SIGTERM. No call is in flight by then, so nothing long is left to do."""
TAIL_LINES: Final = 5
"""Lines of a log that go into a status message: the exception and where it was raised."""
TAIL_BYTES: Final = 4096


class StartFailed(Exception):
    """The instance did not become ready. `reason` is for machines, in the words of Kubernetes, the text for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(eq=False)
class Instance:
    """A started process. `in_flight` is counted by whoever sends calls to it."""

    name: str
    plan: Plan
    log: Path
    process: subprocess.Popen[bytes]
    folder: Path
    gpus: tuple[str, ...] = ()
    in_flight: int = 0
    ended: asyncio.Task[int] = field(init=False)
    """Done, with the return code, when the process is gone."""
    killed_because: str = ""

    def __post_init__(self) -> None:
        self.ended = asyncio.create_task(child.exited(self.process), name=f"end of {self.name}")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.plan.port}"

    async def ready(self, deadline_s: float) -> None:
        """Return when it takes calls. Raises StartFailed when it ends first, or after `deadline_s` seconds."""
        waiting = asyncio.create_task(self._probed())
        try:
            done, _ = await asyncio.wait({waiting, self.ended}, timeout=deadline_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self.ended in done:
            raise self.failure()
        if waiting not in done:
            raise StartFailed("ProgressDeadlineExceeded", f"not ready after {deadline_s:g} s. {self.last_words()}")
        waiting.result()

    async def _probed(self) -> None:
        if startup := self.plan.probes.get("startupProbe"):
            await self._started(probe(startup, self.plan.port))
        readiness = probe(self.plan.probes.get("readinessProbe"), self.plan.port)
        await asyncio.sleep(readiness.delay_s)
        while not await readiness.passes():  # noqa: ASYNC110  # another process cannot set an Event
            await asyncio.sleep(readiness.period_s)

    async def _started(self, startup: Probe) -> None:
        await asyncio.sleep(startup.delay_s)
        for _ in range(startup.failures):
            if await startup.passes():
                return
            await asyncio.sleep(startup.period_s)
        raise StartFailed("StartupProbeFailed", f"startup probe failed {startup.failures} times. {self.last_words()}")

    async def fails_liveness(self) -> None:
        """Return when the liveness probe has failed often enough; never, when there is none."""
        liveness = self.plan.probes.get("livenessProbe")
        if liveness is None:
            await asyncio.Event().wait()
        asked = probe(liveness, self.plan.port)
        await asyncio.sleep(asked.delay_s)
        failed = 0
        while failed < asked.failures:
            # A liveness probe has no quick form: 10 s is Kubernetes' default period.
            await asyncio.sleep((liveness or {}).get("periodSeconds") or 10)
            failed = 0 if await asked.passes() else failed + 1

    def failure(self) -> StartFailed:
        """Why the process is gone, in the words that Knative puts into a revision's status."""
        code = self.process.returncode
        if self.killed_because:
            return StartFailed(self.killed_because, f"{self.killed_because}: {self.last_words()}")
        # A shell and a kubelet report a death by signal N as 128 + N.
        number = code if code >= 0 else 128 - code
        return StartFailed(f"ExitCode{number}", f"Container failed with: {self.last_words() or f'exit code {number}'}")

    def last_words(self) -> str:
        """The last lines of its log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join([line.rstrip() for line in lines if line.strip()][-TAIL_LINES:])

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """SIGTERM, then SIGKILL for its whole process group; its volumes go with it. Safe to call twice."""
        await child.stop(self.process, ask=signal.SIGTERM, grace_s=grace_s)
        self.kill()
        volumes.remove(self.folder)

    def kill(self, because: str = "") -> None:
        """End it, and what it started, at once."""
        self.killed_because = self.killed_because or because
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
