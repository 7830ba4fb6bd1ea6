"""Knative Serving on one machine: what follows from the Services in the store.

Keeps Configurations, Revisions, Routes, their processes and the front door's directory in step with them. The supervisor makes one `Serving`, starts it after the store is open, and stops it before the databases:

    serving = Serving(store, launcher, addresses, directory)
    await serving.start()
    ...
    await serving.stop()

A revision that was Ready when the runtime last ran stays Ready and starts with its first call.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from kn_model.local.addresses import Addresses
from kn_model.local.api.errors import ApiError, Conflict, Gone
from kn_model.local.door.directory import Directory, Entry, Live
from kn_model.local.door.proxy import Timeouts
from kn_model.local.door.routes import Share
from kn_model.local.objects import kinds
from kn_model.local.objects.conditions import Condition, read, timestamp
from kn_model.local.objects.history import WatchEvent
from kn_model.local.objects.kinds import CONFIGURATION, REVISION, ROUTE, SERVICE, Object
from kn_model.local.objects.store import ObjectStore
from kn_model.local.serving import collection
from kn_model.local.serving import objects as serving_objects
from kn_model.local.serving import status as serving_status
from kn_model.local.serving.autoscaler import policy
from kn_model.local.serving.launcher import Launches
from kn_model.local.serving.objects import LABEL, SERVICE_LABEL
from kn_model.local.serving.quantities import seconds
from kn_model.local.serving.replicas import WAKING, Limits, Replicas

log = logging.getLogger(__name__)

RETRY_S: Final = 1.0
"""After which a reconciliation that the store refused is tried again."""
STOP_GRACE_S: Final = 5.0
"""Instances get this long when the runtime stops: a person waits for it (L7 of the reliability cases)."""
_DEFAULT_TIMEOUT_S: Final = 300
_DEFAULT_PROGRESS_DEADLINE: Final = "600s"

Key = tuple[str, str]
"""Namespace and name of a Service."""


class Serving:
    """Reconciles Services one at a time, each whenever something of it changed."""

    def __init__(self, store: ObjectStore, launcher: Launches, addresses: Addresses, directory: Directory) -> None:
        self._store = store
        self._launcher = launcher
        self._addresses = addresses
        self._directory = directory
        self._running: dict[Key, Replicas] = {}
        self._due: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._ending: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Reconcile everything once, then go on by itself."""
        since = self._store.revision
        for service in self._store.list(SERVICE):
            await self._attempt(_key(service))
        self._tasks = [asyncio.create_task(self._follow(since)), asyncio.create_task(self._work())]

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """End all instances and the reconciling; the objects stay as they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*self._ending, *(replicas.stop(grace_s) for replicas in self._running.values()))

    def replicas(self, namespace: str, revision: str) -> Replicas:
        """The instances of one revision. KeyError when it does not run here."""
        return self._running[namespace, revision]

    # --- what is due ---

    async def _follow(self, since: int) -> None:
        while True:
            try:
                async for event in self._store.watch(since=since):
                    self._note(event)
            except Gone:  # we fell behind: look at everything
                since = self._store.revision
                for service in self._store.list(SERVICE):
                    self._enqueue(_key(service))

    def _note(self, event: WatchEvent) -> None:
        if event.kind == REVISION and event.type == "DELETED":
            self._forget(_key(event.obj), event.obj["metadata"]["uid"])
        if key := _service_of(event):
            self._enqueue(key)

    def _enqueue(self, key: Key) -> None:
        if key not in self._queued:
            self._queued.add(key)
            self._due.put_nowait(key)

    async def _work(self) -> None:
        while True:
            key = await self._due.get()
            self._queued.discard(key)
            await self._attempt(key)

    async def _attempt(self, key: Key) -> None:
        try:
            await self._reconcile(key)
        except Conflict:
            self._enqueue(key)
        except ApiError as error:
            log.warning("service %s/%s: %s; trying again", *key, error)
            asyncio.get_running_loop().call_later(RETRY_S, self._enqueue, key)
        except Exception:  # a bug that one Service meets must not stop the others; it is in the log in full
            log.exception("service %s/%s cannot be reconciled", *key)

    # --- one service ---

    async def _reconcile(self, key: Key) -> None:
        service = self._store.find(SERVICE, *key)
        if service is None:
            self._directory.put(*key, {})
            return
        configuration = await self._apply(serving_objects.configuration_for(service))
        route = await self._apply(serving_objects.route_for(service))
        latest = await self._latest_revision(configuration)
        await self._revisions(key, route, latest)
        route = await self._statuses(service, configuration, route, latest)
        await self._collect(key, route, latest)

    async def _apply(self, wanted: Object) -> Object:
        kind = kinds.kind_of(wanted)
        metadata = wanted["metadata"]
        found = self._store.find(kind, metadata["namespace"], metadata["name"])
        if found is None:
            return await self._store.create(wanted)
        return await self._store.update(wanted | {"metadata": found["metadata"] | metadata})

    async def _latest_revision(self, configuration: Object) -> Object:
        wanted = serving_objects.revision_for(configuration)
        return self._store.find(REVISION, *_key(wanted)) or await self._store.create(wanted)

    async def _revisions(self, key: Key, route: Object, latest: Object) -> None:
        """Replicas and status of each revision; those that nobody can call are let go."""
        reachable = _reachable(route, latest)
        callable_ = {*reachable, latest["metadata"]["name"]}
        revisions = self._store.list(REVISION, key[0], labels=f"{SERVICE_LABEL}={key[1]}")
        for revision in revisions:
            name = revision["metadata"]["name"]
            ready = bool(read(revision).status)
            if not ready and name not in callable_:
                self._forget((key[0], name), revision["metadata"]["uid"])
                continue
            replicas = self._replicas_of(revision, key)
            replicas.reachable = name in reachable
            replicas.wake()
            if woken_at := replicas.woken_at():
                waking = serving_status.revision_status(revision, WAKING, woken_at)
                revision = await self._store.set_status(REVISION, *_key(revision), waking)  # noqa: PLW2901  # as it is now
            status = serving_status.revision_status(revision, replicas.state(), timestamp())
            await self._store.set_status(REVISION, *_key(revision), status)

    async def _collect(self, key: Key, route: Object, latest: Object) -> None:
        """Say of each revision whether anything leads to it; let those go that nothing has led to for long."""
        reachable, now = _reachable(route, latest), timestamp()
        revisions = self._store.list(REVISION, key[0], labels=f"{SERVICE_LABEL}={key[1]}")
        marked = [
            collection.labelled(each, key[1], now, routed=each["metadata"]["name"] in reachable) for each in revisions
        ]
        for before, after in zip(revisions, marked, strict=True):
            if before != after:
                await self._store.update(after)
        latest_ready = _latest_ready({each["metadata"]["name"]: each for each in revisions})
        retention = collection.Retention.of(self._store.find(kinds.CONFIG_MAP, *collection.CONFIG))
        for name in collection.forgettable(marked, latest_ready, retention, now):
            await self._store.delete(REVISION, key[0], name)

    def _replicas_of(self, revision: Object, service: Key) -> Replicas:
        key = _key(revision)
        if key in self._running and self._running[key].revision["metadata"]["uid"] != revision["metadata"]["uid"]:
            self._forget(key, self._running[key].revision["metadata"]["uid"])
        if key not in self._running:
            replicas = Replicas(
                revision,
                _limits(revision),
                self._launcher,
                achieved=bool(read(revision).status),
                changed=lambda: self._enqueue(service),
            )
            self._running[key] = replicas
            self._directory.revisions[key] = Live(replicas, _timeouts(revision))
        return self._running[key]

    def _forget(self, key: Key, uid: str) -> None:
        """Stop running a revision; a newer one of the same name is another."""
        replicas = self._running.get(key)
        if replicas is None or replicas.revision["metadata"]["uid"] != uid:
            return
        del self._running[key], self._directory.revisions[key]
        ending = asyncio.create_task(replicas.stop(STOP_GRACE_S))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _statuses(self, service: Object, configuration: Object, route: Object, latest: Object) -> Object:
        """Bottom up, so that each is made of what was just written. Answers the Route with its traffic."""
        now, key = timestamp(), _key(service)
        found = self._store.list(REVISION, key[0], labels=f"{SERVICE_LABEL}={key[1]}")
        revisions = {revision["metadata"]["name"]: revision for revision in found}
        latest_ready = _latest_ready(revisions)
        current = revisions[latest["metadata"]["name"]]
        status = serving_status.configuration_status(configuration, current, latest_ready, now)
        configuration = await self._store.set_status(CONFIGURATION, *key, status)
        traffic = serving_status.traffic(route, revisions, latest_ready, self._addresses)
        route = await self._store.set_status(
            ROUTE, *key, serving_status.route_status(route, traffic, self._addresses, now)
        )
        told = serving_status.service_status(service, configuration, route, now)
        self._directory.put(*key, _entries(key[1], route, read({"status": told})))
        await self._store.set_status(SERVICE, *key, told)
        return route


def _key(obj: Mapping[str, Any]) -> Key:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _service_of(event: WatchEvent) -> Key | None:
    """The Service that a change belongs to."""
    if event.kind == SERVICE:
        return _key(event.obj)
    if event.kind in (CONFIGURATION, REVISION, ROUTE):
        name = (event.obj["metadata"].get("labels") or {}).get(SERVICE_LABEL)
        return (event.obj["metadata"]["namespace"], name) if name else None
    return None


def _named(route: Object) -> set[str]:
    """Revisions that the route leads to now, or wants to."""
    return {target["revisionName"] for target in _targets(route) if target.get("revisionName")}


def _targets(route: Object) -> Sequence[Mapping[str, Any]]:
    return [*((route.get("status") or {}).get("traffic") or []), *route["spec"]["traffic"]]


def _reachable(route: Object, latest: Object) -> Collection[str]:
    """As `_named`; the newest revision only when some target follows it (a pinned route cannot reach it)."""
    follows = any(target.get("latestRevision") for target in _targets(route))
    return _named(route) | ({latest["metadata"]["name"]} if follows else set())


def _latest_ready(revisions: Mapping[str, Object]) -> str:
    ready = [revision["metadata"] for revision in revisions.values() if read(revision).status]
    ready.sort(key=lambda metadata: int(metadata["labels"][LABEL + "configurationGeneration"]))
    return str(ready[-1]["name"]) if ready else ""


def _entries(service: str, route: Object, ready: Condition) -> dict[str, Entry]:
    """What the front door knows of a service: its own traffic and its tags."""
    traffic = route["status"]["traffic"]
    shares = [Share(target["revisionName"], target["percent"]) for target in traffic if target["percent"]]
    entries = {service: Entry(service, shares, ready.message, failed=ready.status is False)}
    for target in traffic:
        if tag := target.get("tag"):
            entries[f"{tag}-{service}"] = Entry(service, [Share(target["revisionName"], 100)])
    return entries


def _limits(revision: Object) -> Limits:
    spec, annotations = revision["spec"], revision["metadata"].get("annotations") or {}
    concurrency = spec.get("containerConcurrency") or 0
    return Limits(
        policy=policy(annotations, concurrency),
        concurrency=concurrency,
        start_s=seconds(annotations.get(LABEL + "progress-deadline", _DEFAULT_PROGRESS_DEADLINE)),
        drain_s=spec.get("timeoutSeconds") or _DEFAULT_TIMEOUT_S,
    )


def _timeouts(revision: Object) -> Timeouts:
    spec = revision["spec"]
    total = spec.get("timeoutSeconds") or _DEFAULT_TIMEOUT_S
    return Timeouts(
        response_start_s=spec.get("responseStartTimeoutSeconds") or total,
        total_s=total,
        idle_s=spec.get("idleTimeoutSeconds") or None,
    )
