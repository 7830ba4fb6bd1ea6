"""PingSource and ApiServerSource: events from the clock and from the objects of the store. Called by the supervisor.

A source sleeps until its next tick or change; there is no polling. What its sink does not take it sends again, and of an
object that changed meanwhile only the last state.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from kn_model.local.addresses import Addresses
from kn_model.local.api.errors import Gone
from kn_model.local.eventing import source_events
from kn_model.local.eventing.cloudevent import CloudEvent
from kn_model.local.eventing.delivery import Failed, judge
from kn_model.local.eventing.sender import Send
from kn_model.local.eventing.source_events import Change
from kn_model.local.eventing.status import show
from kn_model.local.eventing.subscriptions import destination
from kn_model.local.follow import on_change
from kn_model.local.objects import kinds
from kn_model.local.objects.kinds import Kind, Object, kind_of
from kn_model.local.objects.store import ObjectStore
from kn_model.local.own_deliveries import NAMESPACE

# Sleeping longer than this would miss that the clock was set.
LONGEST_NAP_S: Final = 60.0
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 30.0
SINK_TIMEOUT_S: Final = 60.0

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sender:
    """Sends to a sink until it takes the event, or refuses it for good."""

    send: Send
    url: str
    namespace: str

    async def __call__(self, event: CloudEvent) -> None:
        """Return when the event is no longer ours."""
        pause = FIRST_PAUSE_S
        while True:
            outcome = judge(
                await self.send(self.url, event, {NAMESPACE: self.namespace}, SINK_TIMEOUT_S), datetime.now(UTC)
            )
            if not isinstance(outcome, Failed):
                return
            if not outcome.retryable:
                _LOG.error("%s refused a %s: %d", self.url, event.attributes["type"], outcome.status)
                return
            await asyncio.sleep(max(pause, outcome.pause_s))
            pause = min(pause * 2, LONGEST_PAUSE_S)


class Sources:
    """All sources of the store, one task each."""

    def __init__(self, store: ObjectStore, send: Send, addresses: Addresses) -> None:
        self._store = store
        self._send = send
        self._addresses = addresses
        self._running: dict[str, tuple[Mapping[str, Any], asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Follow the sources of the store until cancelled."""
        try:
            await on_change(self._store, (kinds.PING_SOURCE, kinds.API_SERVER_SOURCE), self._reconcile)
        finally:
            tasks = [task for _, task in self._running.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _reconcile(self) -> None:
        """One task per source; a changed spec starts it again."""
        wanted = {
            obj["metadata"]["uid"]: (kind, obj, work)
            for kind, work in ((kinds.PING_SOURCE, self._ping), (kinds.API_SERVER_SOURCE, self._watch))
            for obj in self._store.list(kind)
        }
        for uid in self._running.keys() - wanted.keys():
            self._running.pop(uid)[1].cancel()
        for uid, (kind, obj, work) in wanted.items():
            await self._keep(uid, kind, obj, work)

    async def _keep(self, uid: str, kind: Kind, obj: Object, work: Callable[[Object, Sender], Awaitable[None]]) -> None:
        namespace = obj["metadata"]["namespace"]
        url = self._addresses.here(destination(obj["spec"]["sink"], namespace))
        spec, task = self._running.get(uid, (None, None))
        if spec != obj["spec"]:
            if task is not None:
                task.cancel()
            started = asyncio.ensure_future(work(obj, Sender(self._send, url, namespace)))
            self._running[uid] = (obj["spec"], asyncio.create_task(_logged(started, obj)))
        await show(self._store, kind, obj, {"SinkProvided": "", "Deployed": ""}, {"sinkUri": url})

    async def _ping(self, source: Object, sender: Sender) -> None:
        """Send one event per tick; ticks that were missed are not made up for, as on a cluster."""
        while True:
            due = source_events.next_tick(source["spec"], datetime.now(UTC))
            await _until(due)
            await sender(_stamped(source_events.ping(source)))

    async def _watch(self, source: Object, sender: Sender) -> None:
        """Send every change of the objects that the source names."""
        async with asyncio.TaskGroup() as tasks:
            queue = Latest()
            for resource in source["spec"]["resources"]:
                tasks.create_task(self._collect(source, resource, queue))
            while True:
                await sender(_stamped(source_events.change(source, await queue.get(), self._addresses.kube)))

    async def _collect(self, source: Object, resource: Mapping[str, Any], queue: "Latest") -> None:
        kind = kind_of(resource, self._store.custom_kinds())
        labels = source_events.selector(resource.get("selector"))
        while True:
            try:
                async for event in self._store.watch(kind, source["metadata"]["namespace"], labels=labels):
                    queue.put(Change(kind, event.type, event.obj))
            except Gone:  # too many changes to be told each: begin again with what there is
                continue


class Latest:
    """Changes that wait for the sink, of each object only the last."""

    def __init__(self) -> None:
        self._waiting: dict[str, Change] = {}
        self._filled = asyncio.Event()

    def put(self, change: Change) -> None:
        """Replace an older change of the same object."""
        self._waiting[change.obj["metadata"]["uid"]] = change
        self._filled.set()

    async def get(self) -> Change:
        """The change that waits longest."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        return self._waiting.pop(next(iter(self._waiting)))


def _stamped(event: CloudEvent) -> CloudEvent:
    return source_events.stamped(event, str(uuid.uuid4()), datetime.now(UTC))


async def _until(due: datetime) -> None:
    """Sleep until a moment of the wall clock, which may be set meanwhile."""
    left = (due - datetime.now(UTC)).total_seconds()
    while left > 0:
        await asyncio.sleep(min(left, LONGEST_NAP_S))
        left = (due - datetime.now(UTC)).total_seconds()


async def _logged(work: "asyncio.Future[None]", source: Object) -> None:
    """A source that breaks says so; the others go on."""
    try:
        await work
    except Exception:
        _LOG.exception("source %s ended with a bug", source["metadata"]["name"])
        raise
