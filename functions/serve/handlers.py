"""What `serve` does when an event arrives. Each handler can be repeated at any point and converges.

`server.requested` is the only one that writes to the cluster; the others write records and emit it.
"""

import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from functions.kit import actors, events, log, trace
from functions.kit.bus import Bus, Handler, Unit
from functions.kit.db import Database
from functions.kit.events import CloudEvent, ModelAvailable, RolloutMeasured, ServerRequested
from functions.kit.kube import Json, KubeError
from functions.kit.problem import Forbidden, Problem, Reject, Retry
from functions.serve import (
    cluster,
    desk,
    limits,
    names,
    observe,
    old_news,
    opening,
    planning,
    records,
    service,
    traces,
    wakes,
)
from functions.serve.cluster import Foreign, Kubernetes
from functions.serve.desk import Desk
from functions.serve.observe import Finding, Observation
from functions.serve.planning import Model
from functions.serve.records import SQL, Draft, Record
from functions.serve.requests import ServeOptions
from functions.serve.rollout import afresh, traffic, wish
from functions.serve.rollout import rows as rollouts
from functions.serve.rollout.driver import list_revisions
from functions.serve.rollout.rows import Move
from functions.serve.rollout.states import RolloutCause
from functions.serve.rollout.wish import Wish
from functions.serve.states import Cause, State

# RFC 1123: it becomes part of a path.
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
DELETED: Final = "dev.knative.apiserver.resource.delete"
_LOG = logging.getLogger("torpor.serve")


class Handlers:
    """The handlers of `POST /events`, by type."""

    def __init__(self, db: Database, bus: Bus, api: Kubernetes, front: Desk) -> None:
        self._db = db
        self._bus = bus
        self._api = api
        self._desk = front

    def table(self, tick: Handler) -> Mapping[str, Handler]:
        """Type -> handler."""
        changes: dict[str, Handler] = dict.fromkeys(events.RESOURCE_CHANGES, self.object_changed)
        return {
            ModelAvailable.TYPE: self.model_available,
            ServerRequested.TYPE: self.server_requested,
            **changes,
            DELETED: self.object_deleted,
            events.TICK: tick,
        }

    async def model_available(self, event: CloudEvent) -> None:
        """Serve the model if whoever asked for it wanted that; a refusal becomes a failed record."""
        uuid = event.decode(ModelAvailable).model_uuid
        async with self._bus.transaction(cause=event) as unit:
            row = await unit.connection.fetchrow(SQL.find_model, uuid)
            if row is None:
                await old_news.note_no_model(unit, uuid)
            elif row["serve"] is not None and await unit.connection.fetchval(SQL.take_wish, row["uuid"]) is not None:
                await self._serve(unit, records.model_of(row), row["serve"], event.actor)

    async def _serve(self, unit: Unit, model: Model, asked: Any, actor: str) -> None:
        """With `rollout` in the wish a live server of that name goes over to the model."""
        draft = Draft(names.from_model(model.name), model, ServeOptions(), actor)
        refusal = await actors.refusal(unit.connection, actor)
        if refusal is not None:
            await self._desk.refuse(unit, draft, Forbidden(refusal))
            return
        try:
            wished = msgspec.convert(asked, ServeOptions)
            options = msgspec.structs.replace(wished, rollout=None)
            draft = Draft(names.usable(options.name, model.name), model, options, actor)
            await self._desk.accept(unit, self._desk.draft(model, options, actor), wished.rollout)
        except msgspec.ValidationError as error:
            await self._desk.refuse(unit, draft, Reject(f"the request to serve it cannot be read: {error}"))
        except Retry:
            raise
        except Problem as problem:
            await self._desk.refuse(unit, draft, problem)

    async def server_requested(self, event: CloudEvent) -> None:
        """Make the cluster agree with the record: create, change or delete its Knative Service and its route."""
        async with self._bus.alone(event):
            await self._agree(event)

    async def _agree(self, event: CloudEvent) -> None:
        wished = await wish.read(self._db, event.decode(ServerRequested).server_uuid)
        if wished is None:
            raise Reject(f"there is no server {event.subject}")
        log.model_uuid.set(wished.model_uuid)
        wished = await afresh.look(self._bus, self._api, wished)
        if wished.is_deleted:
            await self._remove(wished.record)
        outcome = None if wished.is_deleted else await self._deploy(wished, event.actor)
        async with self._bus.transaction(cause=event) as unit:
            await self._settle(unit, wished, outcome)

    async def _settle(self, unit: Unit, done: Wish, outcome: Json | Problem | None) -> None:
        """Write what came of it. If the request changed meanwhile, what was just done may be stale: once more."""
        current = await wish.lock(unit.connection, done.record.uuid)
        if current.differs(done):
            if current.gave_up(done):
                # Its revision may be the latest from here on, whoever has taken the pin away meanwhile.
                await unit.connection.execute(SQL.pin_server, current.record.uuid, done.split.pinned)
            unit.emit(ServerRequested(done.record.uuid))
        elif isinstance(outcome, Problem):
            await _refused(unit, current, outcome)
        elif outcome is not None:
            if current.record.pinned and current.restored:
                # Not before the cluster was told: without the pin no tick would look at it again.
                await unit.connection.execute(SQL.unpin_server, current.record.uuid)
            known = current.record.observed
            await _follow(unit, current.record, observe.with_service(known, observe.read(outcome)) or known)

    async def _deploy(self, wished: Wish, actor: str) -> Json | Problem:
        """Apply the Service, and the route once that leads somewhere.

        Answers the Service, or why it can never work. Raises Retry for bad luck.
        """
        refusal = await actors.refusal(self._db, actor)
        if refusal is not None:
            return Forbidden(refusal)
        try:
            model = desk.require_available(await desk.find_model(self._db, wished.model_uuid))
            settings = self._desk.settings
            plan = planning.plan(model, wished.options, self._desk.runtimes, settings.default_runtime)
            limits.check(plan, settings)
            targets = traffic.block(wished.split, await self._kept(wished))
            made = await self._apply(service.knative_service(wished.server, plan, settings, targets, wished.template))
            if opening.routed(made):
                await self._apply(service.http_route(wished.record.server, settings))
        except KubeError as error:
            return Reject(f"the Kubernetes API refused it: {error.message or error.reason} ({error.status})")
        except Foreign as error:
            return Reject(str(error))
        except Retry:
            raise
        except Problem as problem:
            return problem
        return made

    async def _kept(self, wished: Wish) -> set[str]:
        """The server's revisions; the one that traffic may have to go back to is kept from being collected meanwhile."""
        if wished.rollout is None:
            return set()
        revisions = await list_revisions(self._api, self._desk.settings.namespace, wished.record.uuid)
        for revision in revisions:
            await cluster.keep(self._api, revision, kept=revision["metadata"]["name"] == wished.split.pinned)
        return {revision["metadata"]["name"] for revision in revisions}

    async def _apply(self, manifest: Json) -> Json:
        return await cluster.apply(self._api, traces.marked(manifest, trace.current()))

    async def _remove(self, record: Record) -> None:
        for manifest in service.references(record.server, self._desk.settings):
            await cluster.remove(self._api, manifest)

    async def object_changed(self, event: CloudEvent) -> None:
        """The ApiServerSource saw a Service or Revision: keep the record true, from the object as the API has it now.

        Nobody signs these events: made up, one says no more than that an object is worth a look.
        """
        told = _object(event)
        uuid = observe.server_uuid(told)
        if uuid is None:
            return
        obj = await self._look(told, uuid)
        opened = await opening.open_route(self._db, self._api, self._desk.settings, obj)
        async with self._bus.transaction(cause=event) as unit:
            await follow_object(unit, uuid, obj, told)
            await wakes.note(unit.connection, obj, told)
            if not opened:
                unit.emit(ServerRequested(uuid))

    async def object_deleted(self, event: CloudEvent) -> None:
        """Somebody deleted the Knative Service of a server that is not deleted: make it again, if it is really gone."""
        told = _object(event)
        uuid = observe.server_uuid(told)
        if uuid is None or told.get("kind") != "Service":
            return
        obj, uid = await self._look(told, uuid), told["metadata"]["uid"]
        if obj is not None and obj["metadata"]["uid"] == uid:
            return
        async with self._bus.transaction(cause=event) as unit:
            row = await unit.connection.fetchrow(SQL.lock_server, uuid)
            if row is not None:
                await restore(unit, records.record_of(row), uid)

    async def _look(self, told: Json, uuid: str) -> Json | None:
        """The object that an event tells of, as it is now; None when it is gone or another server's."""
        name = told["metadata"]["name"]
        obj = await self._api.get(f"{cluster.served(told['kind'], self._desk.settings.namespace)}/{name}")
        return obj if obj is not None and observe.server_uuid(obj) == uuid else None


async def follow_object(unit: Unit, uuid: str, obj: Json | None, told: Json) -> None:
    """Bring one object's news into its record. Old news, and news of a deleted server, go into the history alone.

    obj: the object as the API has it, None when it is gone. told: what the event said, which only the history keeps.
    """
    row = await unit.connection.fetchrow(SQL.lock_server, uuid)
    if row is None:
        return
    record = records.record_of(row)
    trial = await rollouts.under_way(unit.connection, uuid)
    if trial is not None:
        unit.emit(RolloutMeasured(trial.uuid))
    if record.state is State.DELETED and _remains(obj):
        unit.emit(ServerRequested(uuid))
    news = None if record.state is State.DELETED or obj is None else _news(record, obj)
    if news is None:
        await old_news.note(unit, record, told)
    elif record.state is State.PENDING:
        # What is seen is about an older request; the newer one waits to be applied.
        await records.move(unit.connection, record, news, Finding(Cause.REQUESTED, record.error), _now())
    else:
        await _follow(unit, record, news)


async def _refused(unit: Unit, current: Wish, outcome: Problem) -> None:
    """What was to be done can never work: what serves goes on where there is something, and the reason is shown."""
    record = current.record
    if current.trial is not None:
        await rollouts.move(unit, current.trial, Move(RolloutCause.BROKEN, outcome.detail), _now())
        return
    cause = observe.find(record.observed).cause if record.pinned else Cause.REFUSED
    await records.move(unit.connection, record, record.observed, Finding(cause, outcome.detail), _now())


def _remains(obj: Json | None) -> bool:
    """Whether it is a Service that nobody has deleted yet."""
    return obj is not None and obj["kind"] == "Service" and not obj["metadata"].get("deletionTimestamp")


def _news(record: Record, obj: Json) -> Observation | None:
    with_object = observe.with_service if obj["kind"] == "Service" else observe.with_revision
    return with_object(record.observed, observe.read(obj))


async def _follow(unit: Unit, record: Record, observed: Observation) -> None:
    await records.move(unit.connection, record, observed, observe.find(observed), _now())
    if record.pinned and observed.service and observe.restored(observed.service):
        unit.emit(ServerRequested(record.uuid))


async def restore(unit: Unit, record: Record, uid: str) -> None:
    """The Service with this uid is gone although the server is not deleted: ask for it again."""
    current = record.observed.service
    if record.state is State.DELETED or current is None:
        return
    if uid and current.uid != uid:
        await old_news.note_gone(unit, record, uid)
        return
    _LOG.warning("the Knative Service %s was deleted from outside; it is made again", record.name)
    finding = Finding(Cause.REQUESTED, "its Knative Service was deleted from outside and is being made again")
    await records.move(unit.connection, record, Observation(times=record.observed.times), finding, _now())
    unit.emit(ServerRequested(record.uuid))


def _now() -> datetime:
    return datetime.now(UTC)


def _object(event: CloudEvent) -> Json:
    """The Service or Revision in an ApiServerSource event. Raises Reject for anything else."""
    try:
        obj = msgspec.json.decode(event.data, type=Json)
        if obj["kind"] not in {"Service", "Revision"}:
            raise Reject(f"serve follows Services and Revisions, not objects of kind {obj['kind']}")
        if not _NAME.fullmatch(obj["metadata"]["name"]):
            raise Reject("the object's name is none that Kubernetes gives")
        observe.read(obj)
    except (msgspec.MsgspecError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise Reject(f"the event carries no Service or Revision: {error!r}") from error
    return obj
