"""Moves a rollout: the handler of `rollout.measured`, which says no more than that one is worth a look.

It is emitted when usage of the server was stored, when one of its objects changed, and by every tick. What is seen
decides (`steps`); the move is a row, and the cluster follows with `server.requested`. Killed anywhere, the next
look finds the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from functions.kit import kube
from functions.kit.bus import Bus, Unit
from functions.kit.db import Database
from functions.kit.events import CloudEvent, RolloutMeasured
from functions.kit.problem import Problem, Retry
from functions.serve import cluster, desk, planning
from functions.serve.asking import Asker
from functions.serve.cluster import Kubernetes
from functions.serve.desk import Desk
from functions.serve.planning import Plan
from functions.serve.records import SQL
from functions.serve.rollout import gates, prompts, sight, steps, traffic
from functions.serve.rollout import rows as rollouts
from functions.serve.rollout.gates import Measured, Measures
from functions.serve.rollout.prompts import Proof
from functions.serve.rollout.rows import Move, Rollout
from functions.serve.rollout.sight import Sight
from functions.serve.rollout.states import RolloutState
from functions.serve.rollout.steps import Facts
from functions.serve.service import SERVER_LABEL

# What served is judged by its last hour too: it had all of the traffic then.
_BEFORE: Final = timedelta(hours=1)
# Shorter than the lease of the event; an engine that is woken by the question is asked again when it is up.
ASK_S: Final = 12.0
_TRAFFIC: Final = frozenset({RolloutState.STEPPING, RolloutState.PAUSED})


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look found."""

    facts: Facts
    measures: Measures | None


class Driver:
    """Looks at rollouts and moves them."""

    def __init__(self, db: Database, bus: Bus, api: Kubernetes, front: Desk, asker: Asker) -> None:
        self._db = db
        self._bus = bus
        self._api = api
        self._desk = front
        self._asker = asker

    async def measured(self, event: CloudEvent) -> None:
        """Look at one rollout; move it if it is time. One that has ended, or is gone, is nobody's business any more."""
        async with self._bus.alone(event):
            row = await self._db.fetchrow(SQL.read_rollout, event.decode(RolloutMeasured).rollout_uuid)
            rollout = rollouts.rollout_of(row) if row else None
            seen = await self._look(rollout) if rollout and rollout.under_way else None
            async with self._bus.transaction(cause=event) as unit:
                if rollout and seen:
                    await self._act(unit, rollout, seen)

    async def _act(self, unit: Unit, looked_at: Rollout, seen: _Seen) -> None:
        """If a person or another instance moved it meanwhile, what was seen is of another state: look again."""
        # The server first, as everybody does who locks both.
        await unit.connection.fetchrow(SQL.lock_server, looked_at.server_uuid)
        current = rollouts.rollout_of(await unit.connection.fetchrow(SQL.lock_rollout, looked_at.uuid))
        if (current.state, current.step) != (looked_at.state, looked_at.step):
            if current.under_way:
                unit.emit(RolloutMeasured(current.uuid))
            return
        following, candidate = steps.decide(current, seen.facts), seen.facts.sight.candidate
        if following.cause is None:
            await rollouts.note(unit.connection, current, following.why, candidate, seen.measures)
            return
        move = Move(following.cause, following.why, candidate, seen.measures)
        moved = await rollouts.move(unit, current, move, _now())
        if moved and moved.under_way:
            unit.emit(RolloutMeasured(moved.uuid))

    async def _look(self, rollout: Rollout) -> _Seen:
        sight = await self._sight(rollout)
        try:
            plan = await self._plan(rollout)
        except Retry:
            raise
        except Problem as problem:
            return _Seen(Facts(sight, problem.detail, 0, _now()), None)
        proof = await self._ask(rollout, plan) if steps.asks(rollout, sight) else None
        measures = await self._measure(rollout, sight) if rollout.state in _TRAFFIC else None
        verdict = gates.judge(rollout.options, measures, rollout.since, _now()) if measures else None
        return _Seen(Facts(sight, "", plan.start_s, _now(), proof, verdict), measures)

    async def _sight(self, rollout: Rollout) -> Sight:
        namespace = self._desk.settings.namespace
        service = await self._api.get(f"{cluster.served('Service', namespace)}/{rollout.row['server_name']}")
        revisions = await list_revisions(self._api, namespace, rollout.server_uuid)
        return sight.look(rollout.uuid, rollout.stable_revision, service, revisions)

    async def _plan(self, rollout: Rollout) -> Plan:
        """Raises Problem when the model is gone or cannot be served any more."""
        model = desk.require_available(await desk.find_model(self._db, rollout.model_uuid))
        return planning.plan(model, rollout.request, self._desk.runtimes, self._desk.settings.default_runtime)

    async def _ask(self, rollout: Rollout, plan: Plan) -> Proof:
        name, options = rollout.row["server_name"], rollout.options
        host = traffic.tag_host(name, self._desk.settings.namespace)
        proof = Proof(ok=False, why="its runtime lets no path through that a prompt could be sent to")
        for question in prompts.questions(plan.runtime.kinds[plan.kind].paths, name, options.prompt):
            try:
                answer = await self._asker.ask(host, question.path, question.body, timeout_s=ASK_S)
            except Retry as problem:
                return Proof(None, problem.detail)
            proof = prompts.judge(answer.status, answer.body, options.expect)
            if prompts.understood(answer.status):
                break
        return proof

    async def _measure(self, rollout: Rollout, sight: Sight) -> Measures:
        since = rollout.row["created_at"]
        candidate = sight.candidate or rollout.row["candidate_revision"] or ""
        # A step may ask for more than that.
        most = max(gates.MEASURED, rollout.options.min_requests)
        return Measures(
            candidate=await self._measured(candidate, since, rollout.since, most),
            stable=await self._measured(rollout.stable_revision, since - _BEFORE, rollout.since, most),
        )

    async def _measured(self, revision: str, since: datetime, step_since: datetime, most: int) -> Measured:
        row: Mapping[str, Any] = await self._db.fetchrow(SQL.measure_revision, revision, since, step_since, most)
        return Measured(**row)


async def list_revisions(api: Kubernetes, namespace: str, server_uuid: str) -> list[Any]:
    """The revisions of a server; items of a list carry no kind of their own."""
    path = kube.path("serving.knative.dev/v1", "revisions", namespace)
    found: Any = await api.get(path, labelSelector=f"{SERVER_LABEL}={server_uuid}") or {}
    return [{**item, "kind": "Revision"} for item in found.get("items", [])]


def _now() -> datetime:
    return datetime.now(UTC)
