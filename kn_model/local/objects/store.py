"""All Kubernetes objects of the laptop runtime: read from memory, written through to storage, watched by everyone.

One `ObjectStore` per supervisor. The API serves it to people and functions; reconcilers, the broker and the sources read
it directly. It checks names, versions and ownership only: admission and defaults happen before (`cluster.py`).

    store = ObjectStore(PostgresStorage(pool))
    await store.open()
    service = store.get(kinds.SERVICE, "torpor", "auth")          # a copy: change it freely
    await store.update(service)                                    # Conflict when somebody was faster
    async for event in store.watch(kinds.TRIGGER): ...             # now and from now on

Reads are synchronous and cost a copy. Writes are serialised, since each takes one resourceVersion.
"""

import asyncio
import copy
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from kn_model.local.api.errors import Invalid, already_exists, conflict, not_found
from kn_model.local.objects import meta as object_meta
from kn_model.local.objects.history import History, Type, WatchEvent
from kn_model.local.objects.kinds import CUSTOM_RESOURCE_DEFINITION, NAMESPACE, Kind, Object, defined_by, kind_of
from kn_model.local.objects.selectors import by_fields, by_labels
from kn_model.local.objects.storage import Change, Key, Storage


class ObjectStore:
    """Generic Kubernetes objects with versions, ownership and watches. Errors are `api_errors.ApiError`s."""

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.time) -> None:
        self._storage = storage
        self._clock = clock
        self._objects: dict[str, dict[tuple[str, str], Object]] = {}
        self._kinds: dict[str, Kind] = {}
        self._history = History(0)
        self._writing = asyncio.Lock()
        self._last_change: dict[str, int] = {}
        self.revision = 0

    async def open(self) -> None:
        """Read what storage holds. The revision goes on from the clock's milliseconds: it never runs backwards."""
        # Definitions first: the objects of their kinds are known by them.
        for obj in sorted(await self._storage.load(), key=lambda obj: not _defines(obj)):
            kind = kind_of(obj, self.custom_kinds())
            self._kinds[kind.key] = kind
            self._of(kind)[_key(kind, obj)[1:]] = obj
            self.revision = max(self.revision, int(obj["metadata"]["resourceVersion"]))
        self.revision = max(self.revision, int(self._clock() * 1000))
        self._history = History(self.revision)

    # --- reads ---

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """A copy of one object; `namespace` is ignored for cluster-wide kinds. Raises NotFound."""
        found = self.find(kind, namespace, name)
        if found is None:
            raise not_found(kind, name)
        return found

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """A copy of one object, or None."""
        found = self._of(kind).get((namespace if kind.namespaced else "", name))
        return None if found is None else copy.deepcopy(found)

    def list(self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Object]:
        """Copies of all objects of a kind by namespace and name; empty `namespace` means all. Raises BadSelector."""
        labelled, with_fields = by_labels(labels), by_fields(fields)
        found = sorted(self._of(kind).items())
        return [
            copy.deepcopy(obj)
            for (in_namespace, _), obj in found
            if namespace in ("", in_namespace) and labelled(obj) and with_fields(obj)
        ]

    def custom_kinds(self) -> Sequence[Kind]:
        """The kinds that stored CustomResourceDefinitions add."""
        return [defined_by(crd) for crd in self._of(CUSTOM_RESOURCE_DEFINITION).values()]

    def changed(self, kind: Kind) -> int:
        """The revision of the last change to any object of a kind: compare it to keep something derived up to date."""
        return self._last_change.get(kind.key, 0)

    # --- writes ---

    async def create(self, obj: Mapping[str, Any]) -> Object:
        """Store a new object. Raises AlreadyExists, Invalid, Unavailable."""
        kind = kind_of(obj, self.custom_kinds())
        now = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        new = object_meta.created(kind, obj, str(uuid.uuid4()), now)
        if not new["metadata"].get("name"):
            raise Invalid("metadata.name: Required value: name or generateName is required", kind)
        async with self._writing:
            if _key(kind, new)[1:] in self._of(kind):
                raise already_exists(kind, new["metadata"]["name"])
            return await self._put("ADDED", kind, None, new)

    async def update(self, obj: Mapping[str, Any]) -> Object:
        """Replace all but the status. With `metadata.resourceVersion` set, it has to be the current one: else Conflict."""
        kind = kind_of(obj, self.custom_kinds())
        async with self._writing:
            old = self._current(kind, obj["metadata"], expected=obj["metadata"].get("resourceVersion"))
            return await self._put("MODIFIED", kind, old, object_meta.updated(kind, old, obj))

    async def update_status(self, obj: Mapping[str, Any]) -> Object:
        """Replace the status alone, under the same rule for `metadata.resourceVersion`."""
        kind = kind_of(obj, self.custom_kinds())
        async with self._writing:
            old = self._current(kind, obj["metadata"], expected=obj["metadata"].get("resourceVersion"))
            return await self._put("MODIFIED", kind, old, object_meta.with_status(old, obj.get("status") or {}))

    async def set_status(self, kind: Kind, namespace: str, name: str, status: Mapping[str, Any]) -> Object:
        """Replace the status, whatever version the object has: for the one reconciler that owns it."""
        return await self.update_status(
            {
                "apiVersion": kind.api_version,
                "kind": kind.kind,
                "metadata": {"namespace": namespace, "name": name},
                "status": status,
            }
        )

    async def merge_patch(
        self, kind: Kind, namespace: str, name: str, patch: Mapping[str, Any], *, status: bool = False
    ) -> Object:
        """Apply an RFC 7396 patch; a resourceVersion inside it is a precondition. Admission is the caller's."""
        async with self._writing:
            expected = (patch.get("metadata") or {}).get("resourceVersion")
            old = self._current(kind, {"namespace": namespace, "name": name}, expected=expected)
            merged = object_meta.merge_patch(old, patch)
            new = object_meta.with_status(old, merged.get("status") or {}) if status else None
            return await self._put("MODIFIED", kind, old, new or object_meta.updated(kind, old, merged))

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str | None = None, resource_version: str | None = None
    ) -> Object:
        """Remove an object and, in the same transaction, all that it owns. Returns it as it was last."""
        async with self._writing:
            old = self._current(kind, {"namespace": namespace, "name": name}, expected=resource_version)
            if uid is not None and uid != old["metadata"]["uid"]:
                raise conflict(kind, name)
            doomed = [(kind, old), *self._dependents(kind, old)]
            await self._storage.write([Change(_key(each, obj), 0, None) for each, obj in doomed])
            for each, obj in doomed:
                del self._of(each)[_key(each, obj)[1:]]
                self._publish("DELETED", each, obj, self._stamped(obj))
            return copy.deepcopy(old)

    # --- watches ---

    async def watch(
        self,
        kind: Kind | None = None,
        namespace: str = "",
        *,
        since: int | None = None,
        labels: str = "",
        fields: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """Changes as they happen, for one kind or (None) all of them.

        Without `since`, starts with an ADDED for every object there is. With `since` (a resourceVersion), starts with what
        came after it; raises Gone when that is no longer remembered, also later for a watcher that falls 4096 behind.
        An object that leaves the selection by changing its labels is told as DELETED, one that enters it as ADDED.
        """
        labelled, with_fields = by_labels(labels), by_fields(fields)

        def selects(obj: Object | None) -> bool:
            wanted = obj is not None and namespace in ("", obj["metadata"].get("namespace", ""))
            return wanted and obj is not None and labelled(obj) and with_fields(obj)

        position = self.revision if since is None else since
        if since is None:
            for event in self._snapshot(kind):
                if selects(event.obj):
                    yield event
        while True:
            for event in await self._history.later(position):
                position = event.revision
                if kind in (None, event.kind) and (seen := event.seen_by(selects)):
                    yield seen

    def _snapshot(self, kind: Kind | None) -> Sequence[WatchEvent]:
        kinds = self._kinds.values() if kind is None else (kind,)
        return [WatchEvent("ADDED", obj, each, self.revision) for each in kinds for obj in self._of(each).values()]

    # --- inside ---

    def _of(self, kind: Kind) -> dict[tuple[str, str], Object]:
        return self._objects.setdefault(kind.key, {})

    def _current(self, kind: Kind, metadata: Mapping[str, Any], expected: str | None) -> Object:
        key = (metadata.get("namespace", "default") if kind.namespaced else "", metadata.get("name", ""))
        old = self._of(kind).get(key)
        if old is None:
            raise not_found(kind, key[1])
        if expected and expected != old["metadata"]["resourceVersion"]:
            raise conflict(kind, key[1])
        return old

    def _dependents(self, kind: Kind, owner: Object) -> Sequence[tuple[Kind, Object]]:
        owned = [
            (each, obj)
            for each in self._kinds.values()
            for obj in self._of(each).values()
            if _owned_by(obj, owner)
            or (kind == NAMESPACE and _inside(obj, owner))
            or (kind == CUSTOM_RESOURCE_DEFINITION and each == defined_by(owner))
        ]
        deeper = [found for each, obj in owned for found in self._dependents(each, obj)]
        return list({_key(each, obj): (each, obj) for each, obj in [*owned, *deeper]}.values())

    async def _put(self, change: Type, kind: Kind, old: Object | None, new: Object) -> Object:
        """Write through, then show: nobody sees what storage refused. A write that changes nothing is none."""
        if old == new:
            return copy.deepcopy(new)
        new = self._stamped(new)
        key = _key(kind, new)
        await self._storage.write([Change(key, self.revision + 1, new)])
        self._of(kind)[key[1:]] = new
        self._kinds[kind.key] = kind
        self._publish(change, kind, old, new)
        return copy.deepcopy(new)

    def _stamped(self, obj: Object) -> Object:
        """The object with the next resourceVersion, which becomes the store's when the change is published."""
        return obj | {"metadata": obj["metadata"] | {"resourceVersion": str(self.revision + 1)}}

    def _publish(self, change: Type, kind: Kind, old: Object | None, obj: Object) -> None:
        self.revision += 1
        self._last_change[kind.key] = self.revision
        self._history.append(WatchEvent(change, obj, kind, self.revision, old))


def _key(kind: Kind, obj: Mapping[str, Any]) -> Key:
    metadata = obj["metadata"]
    return kind.key, metadata["namespace"] if kind.namespaced else "", metadata["name"]


def _owned_by(obj: Object, owner: Object) -> bool:
    references = obj["metadata"].get("ownerReferences") or []
    return any(reference.get("uid") == owner["metadata"]["uid"] for reference in references)


def _defines(obj: Object) -> bool:
    return bool(obj["kind"] == CUSTOM_RESOURCE_DEFINITION.kind)


def _inside(obj: Object, namespace: Object) -> bool:
    return bool(obj["metadata"].get("namespace") == namespace["metadata"]["name"])
