"""ModelServe resources: what they ask for goes the way of POST /serve, and what becomes of it goes into their status.

No operator runs. An event of the ApiServerSource says that a resource is worth a look, no more: it is nobody's signature.
What is done follows from the resource as the API has it, from the table `modelserves` (what was done before) and from the
server's record. So a lost or doubled event changes nothing, a deleted resource needs no finalizer, and the tick, which
looks at all of them, only does what an event should have done. Called by the events of `events`.
"""

import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from functions.kit import actors, kube
from functions.kit.bus import Bus, Unit
from functions.kit.events import CloudEvent
from functions.kit.identity import Identity
from functions.kit.kube import Json, KubeError
from functions.kit.problem import Forbidden, Problem, Reject, Retry, Unauthorized
from functions.serve.cluster import Kubernetes
from functions.serve.deps import Verifies
from functions.serve.desk import Desk
from functions.serve.modelserve import rows, spec, status
from functions.serve.modelserve.rows import Done
from functions.serve.modelserve.spec import Wanted
from functions.serve.modelserve.status import Facts
from functions.serve.planning import Model
from functions.serve.problems import InvalidToken, NameTaken, NotAllowed
from functions.serve.records import SQL, Record

# Of others who write the same resource at the same time: people, GitOps, another instance.
ATTEMPTS: Final = 3
_CONFLICT: Final = 409
_NOT_FOUND: Final = 404
_LOG = logging.getLogger("torpor.serve")


class ModelServes:
    """The resources of this installation's namespace."""

    def __init__(self, bus: Bus, api: Kubernetes, verifier: Verifies, front: Desk) -> None:
        self._bus = bus
        self._api = api
        self._verifier = verifier
        self._desk = front
        self._settings = front.settings
        self._namespace = front.settings.namespace
        self._collection = kube.path(spec.API_VERSION, spec.PLURAL, self._namespace)

    async def look(self, name: str) -> None:
        """Bring the resource of this name, its server and its status together. Raises Retry for bad luck."""
        for _ in range(ATTEMPTS):
            listed = await self._list(fieldSelector=f"metadata.name={name}")
            if listed is None:
                return
            obj = next((each for each in listed if not each["metadata"].get("deletionTimestamp")), None)
            if obj is None:
                await self._remove(name)
                return
            if await self._bring_together(obj):
                return
        raise Retry(1, f"the ModelServe {name} keeps changing; try again")

    async def tick(self, _: CloudEvent) -> None:
        """Every resource that there is, and every server of one that is no more."""
        listed = await self._list()
        if listed is None:
            return
        known = await self._names(SQL.list_modelserves)
        await self._look_at(known | {each["metadata"]["name"] for each in listed})

    async def look_at_waiting(self) -> None:
        """A model became available: the resources that wait for one."""
        await self._look_at(await self._names(SQL.list_waiting_modelserves))

    async def _look_at(self, named: set[str]) -> None:
        """What is wrong with one keeps none of the others from being looked at. Raises the last."""
        failed: Problem | KubeError | None = None
        for name in sorted(named):
            try:
                await self.look(name)
            except (Problem, KubeError) as problem:
                _LOG.warning("the ModelServe %s could not be looked at: %s", name, problem)
                failed = problem
        if failed is not None:
            raise failed

    async def look_at_owner(self, server_uuid: str) -> None:
        """Something became of a server: the resource that it belongs to, if it belongs to one."""
        async with self._bus.transaction() as unit:
            name = await unit.connection.fetchval(SQL.find_modelserve_of_server, server_uuid)
        if name is not None:
            await self.look(name)

    async def _names(self, sql: str) -> set[str]:
        async with self._bus.transaction() as unit:
            return {row["name"] for row in await unit.connection.fetch(sql, self._namespace)}

    async def _list(self, **query: str) -> list[Json] | None:
        """None where the kind is not known: nothing is concluded from that, least of all that everything was deleted."""
        answer: Any = await self._api.get(self._collection, **query)
        if answer is None:
            _LOG.warning("the cluster does not know the kind ModelServe; apply knative/base/serve/modelserve.yaml")
            return None
        named = {"apiVersion": spec.API_VERSION, "kind": spec.KIND}
        # Items of a list carry no kind of their own.
        return [{**item, **named} for item in answer["items"]]

    # --- one resource ---

    async def _bring_together(self, obj: Json) -> bool:
        """Do what it asks for and say what came of it; False when it changed meanwhile."""
        wanted: Wanted | None = None
        try:
            wanted = spec.read(obj)
            facts = await self._done(wanted)
        except Retry:
            raise
        except Problem as problem:
            facts = await self._known(obj["metadata"]["name"], wanted, problem)
        if facts is None:
            return False
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return await self._show(obj, status.status(obj, wanted, facts, now))

    async def _done(self, wanted: Wanted) -> Facts | None:
        """Ask the desk for the server, once per spec and model; None when a newer spec was looked at already."""
        who = await self._who(wanted)
        place = (self._namespace, wanted.name)
        async with self._bus.transaction(actor=who.subject) as unit:
            before = await rows.lock(unit, *place)
            if before is not None and before.is_later(wanted):
                return None
            done = rows.looked_at(wanted, who, before)
            model, record = await rows.model(unit, wanted), await rows.server(unit, before)
            available = model is not None and model.status == "available"
            if model is not None and available and (record is None or not done.has_asked(wanted, model)):
                record = await self._ask(unit, wanted, who, model, done)
                done = replace(done, asked=wanted.generation, model_uuid=model.uuid, server_uuid=record.uuid)
            await rows.put(unit, place, done, waiting=not available)
            return await rows.facts(unit, model, record)

    async def _ask(self, unit: Unit, wanted: Wanted, who: Identity, model: Model, done: Done) -> Record:
        """The desk's way: a new server, or another revision of ours, by a rollout where something serves."""
        refusal = await actors.refusal(unit.connection, who.subject)
        if refusal is not None:
            raise NotAllowed(refusal)
        if not who.allows_model(model.name):
            raise NotAllowed(f"the credential of this resource does not cover the model {model.name}")
        existing = await unit.connection.fetchrow(SQL.find_server, self._namespace, wanted.name)
        if existing is not None and existing["uuid"] != done.server_uuid:
            raise NameTaken(
                f"a server named {wanted.name} exists that this resource did not make: "
                f"DELETE /serve/{wanted.name} first, or give the resource another name"
            )
        return await self._desk.accept(unit, self._desk.draft(model, wanted.options, who.subject), wanted.rollout)

    async def _who(self, wanted: Wanted) -> Identity:
        """In whose name. A token is verified once per spec: what it allowed goes on when it has expired."""
        if not wanted.token:
            return self._configured()
        async with self._bus.transaction() as unit:
            before = await rows.lock(unit, self._namespace, wanted.name)
        if before is not None and before.verified(wanted):
            return Identity(before.actor, "", before.models, ("operate",), 0.0)
        try:
            who = await self._verifier.identify(f"Bearer {wanted.token}")
            who.require("operate")
        except Unauthorized as problem:
            raise InvalidToken(f"the annotation {spec.TOKEN}: {problem.detail}") from problem
        except Forbidden as problem:
            raise NotAllowed(problem.detail) from problem
        return who

    def _configured(self) -> Identity:
        actor = self._settings.modelserve_actor
        if not actor:
            raise NotAllowed(
                f"this installation acts for nobody in particular: put a token or an API key into the annotation "
                f"{spec.TOKEN}, or set TORPOR_MODELSERVE_ACTOR"
            )
        return Identity(actor, "", ("*",), ("operate",), 0.0)

    async def _remove(self, name: str) -> None:
        """The resource is gone, and with it goes the server that it made."""
        async with self._bus.transaction() as unit:
            done = await rows.lock(unit, self._namespace, name)
            if done is None:
                return
            record = await rows.server(unit, done)
            if record is not None:
                await self._desk.delete(unit, record)
            await unit.connection.execute(SQL.drop_modelserve, self._namespace, name)

    async def _known(self, name: str, wanted: Wanted | None, problem: Problem) -> Facts:
        """What there is, when nothing could be done. A key that PostgreSQL rejected once is not looked up again."""
        async with self._bus.transaction() as unit:
            record = await rows.server(unit, await rows.lock(unit, self._namespace, name))
            model = None if wanted is None or isinstance(problem, Reject) else await rows.model(unit, wanted)
            return replace(await rows.facts(unit, model, record), refused=problem)

    async def _show(self, obj: Json, status: Json) -> bool:
        """Write the status, unless it says so already; False when somebody else wrote meanwhile."""
        if obj.get("status") == status:
            return True
        try:
            await self._api.replace(f"{self._collection}/{obj['metadata']['name']}/status", {**obj, "status": status})
        except KubeError as error:
            if error.status not in {_CONFLICT, _NOT_FOUND}:
                raise
            return False
        return True
