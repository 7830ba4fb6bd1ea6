"""The last changes of the store, in order, for watches that start or come back.

Used by `objects/store.py` alone; others meet `WatchEvent` as what `ObjectStore.watch` yields.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from kn_model.local.api.errors import Gone
from kn_model.local.objects.kinds import Kind, Object

HISTORY: Final = 4096
"""Changes remembered; a Kubernetes watch cache keeps at least 100 per kind, and we have some 20 kinds."""

Type = Literal["ADDED", "MODIFIED", "DELETED"]
Selects = Callable[[Object | None], bool]


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """A change as a watch tells it. `obj` and `old` are shared between watchers: read them, do not change them."""

    type: Type
    obj: Object
    kind: Kind
    revision: int
    """The store's resourceVersion after the change."""
    old: Object | None = None
    """The object before the change; None for ADDED."""

    def seen_by(self, selects: Selects) -> "WatchEvent | None":
        """What a watcher with a selection sees of it (same rule as k8s.io/apiserver `pkg/storage/cacher`)."""
        now, before = self.type != "DELETED" and selects(self.obj), selects(self.old)
        if now:
            return replace(self, type="MODIFIED" if before else "ADDED")
        return replace(self, type="DELETED") if before else None


class History:
    """A bounded log of changes; `start` is the revision from which on it is complete."""

    def __init__(self, start: int) -> None:
        self._complete_from = start
        self._events: deque[WatchEvent] = deque(maxlen=HISTORY)
        self._appended = asyncio.Event()

    def append(self, event: WatchEvent) -> None:
        """Remember a change and wake all watchers."""
        if len(self._events) == HISTORY:
            self._complete_from = self._events[0].revision
        self._events.append(event)
        self._appended.set()
        self._appended = asyncio.Event()

    def after(self, revision: int) -> list[WatchEvent]:
        """The changes later than `revision`, oldest first. Raises Gone when some of them are forgotten."""
        last = self._events[-1].revision if self._events else self._complete_from
        if not self._complete_from <= revision <= last:
            raise Gone(f"too old resource version: {revision} ({self._complete_from})")
        recent: list[WatchEvent] = []
        for event in reversed(self._events):
            if event.revision <= revision:
                break
            recent.append(event)
        return recent[::-1]

    async def later(self, revision: int) -> list[WatchEvent]:
        """Like `after`, but waits until there is one."""
        while not (events := self.after(revision)):
            await self._appended.wait()
        return events
