"""The function `serve`: its routing table and the thin endpoints behind it.

People and programs call `/serve` and `/contract` through the front door, which routes nothing else to this function;
the Broker posts to `/events`, which carries no token: `kit.trust` says what is believed there. What a request means is decided in `desk` and
`planning`; what an event does is in `handlers` and `reconcile`.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from functions.kit import app, bus, remote
from functions.kit.bus import Bus, Handler
from functions.kit.db import Database
from functions.kit.events import CloudEvent, EvaluationRequested, InferenceRequested, RolloutMeasured, WebhookRequested
from functions.kit.identity import Identity
from functions.kit.kube import Kube
from functions.kit.problem import Forbidden
from functions.kit.publisher import HttpPublisher
from functions.kit.signature import Keyring
from functions.kit.trust import Trust
from functions.serve import desk, planning, records, traces
from functions.serve.asking import Asker
from functions.serve.deps import Deps
from functions.serve.desk import Desk
from functions.serve.evaluation.calls import Calls as EvaluationCalls
from functions.serve.evaluation.driver import Driver as EvaluationDriver
from functions.serve.evaluation.hints import Hints
from functions.serve.handlers import Handlers
from functions.serve.inference.calls import Calls
from functions.serve.inference.upkeep import Upkeep
from functions.serve.inference.webhook import Webhooks
from functions.serve.inference.worker import Worker
from functions.serve.modelserve.events import around
from functions.serve.modelserve.resource import ModelServes
from functions.serve.planning import Model
from functions.serve.reconcile import Tick
from functions.serve.requests import ServePatch, ServeRequest
from functions.serve.rollout.api import RolloutEndpoints
from functions.serve.rollout.driver import Driver
from functions.serve.runtimes import Runtimes
from functions.serve.settings import Settings

_LOG = logging.getLogger("torpor.serve")


def build(settings: Settings) -> Starlette:
    """The function, from its settings; everything it depends on opens at first use."""
    db, objects = Database(settings.database_url), settings.objects()
    trust = Trust(settings.namespace, Keyring(settings.event_keys))
    return app.build(
        routes(
            Deps(
                settings=settings,
                db=db,
                bus=Bus(db, "/torpor/serve", HttpPublisher(settings.broker_url), trust.keyring),
                api=Kube(settings.kube_url, settings.kube_credentials),
                verifier=remote.verifier(settings.jwks_url, settings.verify_url),
                runtimes=Runtimes(settings.runtimes_dir),
                trust=trust,
                objects=objects,
                asker=Asker(settings.ingress_url, settings.inference_key),
            )
        ),
        ready={"PostgreSQL": db.ping},
    )


def routes(deps: Deps) -> Sequence[BaseRoute]:
    """The API of `serve`."""
    front = Desk(deps.settings, deps.runtimes)
    servers = Servers(deps, front)
    handlers = Handlers(deps.db, deps.bus, deps.api, front)
    tick = Tick(deps.db, deps.bus, deps.api, deps.settings)
    driver = Driver(deps.db, deps.bus, deps.api, front, deps.asker)
    evaluations = EvaluationDriver(deps, front)
    resources = ModelServes(deps.bus, deps.api, deps.verifier, front)
    hints = Hints(deps.db, deps.bus, deps.settings.namespace)
    on_event: dict[str, Handler] = {
        **handlers.table(_each(tick, Upkeep(deps), resources.tick, hints.tick)),
        RolloutMeasured.TYPE: driver.measured,
        InferenceRequested.TYPE: Worker(deps),
        WebhookRequested.TYPE: Webhooks(deps),
        EvaluationRequested.TYPE: evaluations,
    }
    calls, evaluation_calls = Calls(deps), EvaluationCalls(deps, evaluations)
    return [
        Route("/serve", servers.create, methods=["POST"]),
        Route("/serve/{name}", servers.patch, methods=["PATCH"]),
        Route("/serve/{name}", servers.delete, methods=["DELETE"]),
        *RolloutEndpoints(deps, front).routes(),
        Route("/contract", servers.contract, methods=["POST"]),
        Route("/inference", calls.ask, methods=["POST"]),
        Route("/inference/{id}", calls.cancel, methods=["DELETE"]),
        Route("/evaluations", evaluation_calls.ask, methods=["POST"]),
        Route("/evaluations/{id}", evaluation_calls.end, methods=["DELETE"]),
        Route(
            "/events",
            bus.endpoint(hints.around(around(on_event, resources)), deps.trust, traces.of_event),
            methods=["POST"],
        ),
    ]


def _each(*rounds: Handler) -> Handler:
    """A tick is everybody's: the bad luck of one round keeps nobody else's from being made."""

    async def tick(event: CloudEvent) -> None:
        outcomes = await asyncio.gather(*(made(event) for made in rounds), return_exceptions=True)
        failures = [outcome for outcome in outcomes if outcome is not None]
        for failure in failures[1:]:
            _LOG.error("another round of the tick failed as well", exc_info=failure)
        if failures:
            raise failures[0]

    return tick


class Servers:
    """What operators ask. Every endpoint verifies the caller."""

    def __init__(self, deps: Deps, front: Desk) -> None:
        self._deps = deps
        self._desk = front

    async def create(self, request: Request) -> Response:
        """POST /serve: 202 and the record; the same request again answers the same record."""
        who = await self._operator(request)
        asked = await app.body(request, ServeRequest)
        model = desk.require_available(await self._model(asked.model, who))
        draft = self._desk.draft(model, asked.options(), who.subject)
        async with self._deps.bus.transaction(actor=who.subject) as unit:
            record = await self._desk.accept(unit, draft, asked.rollout, who.allows_model)
        return _accepted(record)

    async def patch(self, request: Request) -> Response:
        """PATCH /serve/{name}: model, runtime, memory, parameters, by a rollout where something serves; scale; 202 and the record."""
        who = await self._operator(request)
        change = await app.body(request, ServePatch)
        async with self._deps.bus.transaction(actor=who.subject) as unit:
            record = await self._desk.find(unit, request.path_params["name"])
            _allow(record.model_name, who)
            found = await desk.find_model(unit.connection, change.model or record.model_uuid)
            record = await self._desk.patch(
                unit, record, desk.require_available(_allowed(found, who)), change, who.subject
            )
        return _accepted(record)

    async def delete(self, request: Request) -> Response:
        """DELETE /serve/{name}: 202; the name is free at once, its objects go with the event."""
        who = await self._operator(request)
        async with self._deps.bus.transaction(actor=who.subject) as unit:
            record = await self._desk.find(unit, request.path_params["name"])
            _allow(record.model_name, who)
            record = await self._desk.delete(unit, record)
        return app.json(records.view(record), status=202)

    async def contract(self, request: Request) -> Response:
        """POST /contract: the verdict, with 200 also when it is a refusal."""
        who = await self._operator(request)
        asked = await app.body(request, ServeRequest)
        model = await self._model(asked.model, who)
        plan = planning.plan(model, asked.options(), self._deps.runtimes, self._deps.settings.default_runtime)
        return app.json({"model_uuid": model.uuid, "model_name": model.name, **_plan_view(plan, asked)})

    async def _operator(self, request: Request) -> Identity:
        who = await self._deps.verifier.identify(request.headers.get("authorization"))
        who.require("operate")
        return who

    async def _model(self, key: str, who: Identity) -> Model:
        return _allowed(await desk.find_model(self._deps.db, key), who)


def _plan_view(plan: planning.Plan, asked: ServeRequest) -> dict[str, Any]:
    return {**plan.as_params(asked.params), **msgspec.to_builtins(plan.verdict)}


def _allowed(model: Model, who: Identity) -> Model:
    _allow(model.name, who)
    return model


def _allow(model_name: str, who: Identity) -> None:
    if not who.allows_model(model_name):
        raise Forbidden(f"this credential does not cover the model {model_name}")


def _accepted(record: records.Record) -> Response:
    return app.json(records.view(record), 202, {"Location": f"/status/{record.name}"})
