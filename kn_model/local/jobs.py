"""Runs Jobs to their end: batch/v1 with one container, on this machine. Called by the supervisor.

Source of back-off and conditions: Kubernetes 1.37, `pkg/controller/job` (10 s, doubled, at most 6 minutes).
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from kn_model.local.api.errors import Gone, NotFound, Unavailable
from kn_model.local.follow import on_change
from kn_model.local.objects import kinds
from kn_model.local.objects.kinds import Object
from kn_model.local.objects.store import ObjectStore
from kn_model.local.serving.instance import Instance, StartFailed
from kn_model.local.serving.launcher import Launches

FIRST_PAUSE_S: Final = 10.0
LONGEST_PAUSE_S: Final = 360.0
AGAIN_S: Final = 1.0  # before asking a database again that did not answer
DEFAULT_TRIES: Final = 6  # spec.backoffLimit

_LOG = logging.getLogger(__name__)


class JobFailed(Exception):
    """A Job has failed for good; the text is its last words"""


class Jobs:
    """All Jobs of the store. A Job that was running when the runtime died starts again, as its pod would."""

    def __init__(self, store: ObjectStore, launcher: Launches) -> None:
        self._store = store
        self._launcher = launcher
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Run every Job that has not ended, until cancelled."""
        try:
            await on_change(self._store, (kinds.JOB,), self._reconcile)
        finally:
            tasks = list(self._running.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def finished(self, namespace: str, name: str) -> None:
        """Return when a Job is complete. JobFailed when it never will be."""
        while True:
            try:
                async for event in self._store.watch(kinds.JOB, namespace, fields=f"metadata.name={name}"):
                    if _has(event.obj, "Complete"):
                        return
                    if failed := _has(event.obj, "Failed"):
                        raise JobFailed(f"Job {name} failed: {failed['message']}")
            except Gone:
                continue

    async def _reconcile(self) -> None:
        """One task for each Job that is not over; none for one that is gone."""
        open_jobs = {job["metadata"]["uid"]: job for job in self._store.list(kinds.JOB) if not _is_over(job)}
        for uid in self._running.keys() - open_jobs.keys():
            self._running.pop(uid).cancel()
        for uid in open_jobs.keys() - self._running.keys():
            self._running[uid] = asyncio.create_task(self._to_the_end(open_jobs[uid]))

    async def _to_the_end(self, job: Object) -> None:
        started = _now()
        await self._show(job, {"startTime": started, "active": 1})
        try:
            async with asyncio.timeout(job["spec"].get("activeDeadlineSeconds")):
                failed, reason, message = await self._attempts(job)
        except TimeoutError:
            failed, reason, message = 1, "DeadlineExceeded", "Job was active longer than specified deadline"
        condition = {"type": "Failed" if reason else "Complete", "status": "True", "lastTransitionTime": _now()}
        told = {"reason": reason, "message": message} if reason else {}
        ended = {"failed": failed} if reason else {"succeeded": 1, "completionTime": _now()}
        await self._show(job, {"startTime": started, "conditions": [{**condition, **told}], **ended})

    async def _attempts(self, job: Object) -> tuple[int, str, str]:
        """Run it until it succeeds or has failed too often: failures, and reason and last words when it failed."""
        limit, failures, pause = job["spec"].get("backoffLimit", DEFAULT_TRIES), 0, FIRST_PAUSE_S
        while True:
            words = await self._once(job)
            if words is None:
                return failures, "", ""
            failures += 1
            if failures > limit:
                return failures, "BackoffLimitExceeded", words
            _LOG.warning("Job %s failed, again in %.0f s: %s", job["metadata"]["name"], pause, words)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _once(self, job: Object) -> str | None:
        """One run: None when it succeeded, else its last words."""
        try:
            instance = await self._launcher.launch(_as_revision(job))
        except StartFailed as error:
            return str(error)
        try:
            code = await asyncio.shield(instance.ended)
        finally:
            await instance.stop()
        return None if code == 0 else _last_words(instance, code)

    async def _show(self, job: Object, status: Mapping[str, Any]) -> None:
        metadata = job["metadata"]
        while True:
            try:
                await self._store.set_status(kinds.JOB, metadata["namespace"], metadata["name"], status)
            except NotFound:
                _LOG.info("Job %s was deleted while it ran", metadata["name"])
            except Unavailable as error:  # how a Job ended must not be forgotten
                _LOG.warning("the status of Job %s has to wait: %s", metadata["name"], error)
                await asyncio.sleep(AGAIN_S)
                continue
            return


def _as_revision(job: Object) -> Object:
    """The Job's pod in the shape that the launcher takes; its log goes to a folder named after the Job."""
    return {"metadata": {"labels": {}, **job["metadata"]}, "spec": job["spec"]["template"]["spec"]}


def _last_words(instance: Instance, code: int) -> str:
    return instance.last_words() or f"exit code {code}"


def _has(job: Object, condition: str) -> Mapping[str, Any]:
    conditions = (job.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == condition and each["status"] == "True"), {})


def _is_over(job: Object) -> bool:
    return bool(_has(job, "Complete") or _has(job, "Failed"))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
