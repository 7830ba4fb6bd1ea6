"""The function `status`: its routing table and the thin endpoints behind it.

People and programs GET, and operators have dead letters sent again. The Broker posts `usage.recorded` and ticks to `/events`, and to `/deadletters` what no
subscriber could take; these two carry no token, `kit.trust` says what is believed there.
"""

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from functions.kit import app, bus, events, remote
from functions.kit.bus import Bus, Handler
from functions.kit.db import Database
from functions.kit.events import CloudEvent, EngineStarted, Event, UsageRecorded
from functions.kit.identity import Identity
from functions.kit.publisher import HttpPublisher
from functions.kit.signature import Keyring
from functions.kit.trust import Trust
from functions.status import (
    cold_starts,
    deadletters,
    evaluations,
    feed,
    models,
    redrive,
    rollouts,
    servers,
    unserved,
    usage,
)
from functions.status.deadletters import SQL
from functions.status.deps import Deps
from functions.status.inference import Answers
from functions.status.letter_filter import Filter
from functions.status.newsroom import Newsroom
from functions.status.paging import Page
from functions.status.settings import Settings
from functions.status.stream import Streams
from functions.status.unserved import Unserved

Read = Callable[[Request, Identity], Awaitable[object]]


def build(settings: Settings) -> Starlette:
    """The function, from its settings; everything it depends on opens at first use."""
    db = Database(settings.database_url)
    publisher = HttpPublisher(settings.broker_url)
    verifier = remote.verifier(settings.jwks_url, settings.verify_url)
    trust = Trust(settings.namespace, Keyring(settings.event_keys, settings.engine_event_keys))
    deps = Deps(db, Bus(db, "/torpor/status", publisher, trust.keyring), verifier, trust, settings.objects())
    return app.build(routes(deps), ready={"PostgreSQL": db.ping})


def routes(deps: Deps) -> Sequence[BaseRoute]:
    """The API of `status`: paths, and what a caller has to be allowed to do."""
    reads, redrives, inputs, answers = Reads(deps), Redrives(deps), Inputs(deps), Answers(deps)
    return [
        Route("/models", _get(deps, "read", reads.models)),
        Route("/models/available", _get(deps, "read", reads.available_models)),
        Route("/models/{name:path}", _get(deps, "read", reads.model)),
        Route("/status", _get(deps, "read", reads.servers)),
        Route("/status/{name}", _get(deps, "read", reads.server)),
        Route("/usage", _get(deps, "read", reads.usage)),
        Route("/evaluations", _get(deps, "operate", reads.evaluations)),
        Route("/evaluations/{id}", _get(deps, "operate", reads.evaluation)),
        Route("/m/{name}/{rest:path}", Unserved(deps).answer, methods=unserved.METHODS),
        Route("/inference/{id}", _get(deps, "infer", answers.request)),
        Route("/inference/{id}/result", answers.result),
        Route("/deadletters", _get(deps, "operate", reads.dead_letters)),
        Route("/deadletters", inputs.dead_letter, methods=["POST"]),
        Route("/deadletters/redrive", _post(deps, "operate", redrives.matching), methods=["POST"]),
        Route("/deadletters/{number:int}", _get(deps, "operate", reads.dead_letter)),
        Route("/deadletters/{number:int}/redrive", _post(deps, "operate", redrives.one), methods=["POST"]),
        Route("/events", Streams(deps, Newsroom(deps.db)).events),
        Route("/events", bus.endpoint(inputs.table(), deps.trust), methods=["POST"]),
    ]


class Reads:
    """What people and programs ask."""

    def __init__(self, deps: Deps) -> None:
        self._db = deps.db

    async def models(self, request: Request, _: Identity) -> object:
        """GET /models: those that are downloading, available or failed."""
        return _named("models", await models.list_models(self._db, request.query_params, models.LISTED, _now()))

    async def available_models(self, request: Request, _: Identity) -> object:
        """GET /models/available: those that can be served."""
        return _named("models", await models.list_models(self._db, request.query_params, models.AVAILABLE, _now()))

    async def model(self, request: Request, _: Identity) -> object:
        """GET /models/{uuid or name}: one, with its files."""
        return await models.find_model(self._db, request.path_params["name"], _now())

    async def servers(self, request: Request, _: Identity) -> object:
        """GET /status: the servers."""
        return _named("servers", await servers.list_servers(self._db, request.query_params))

    async def server(self, request: Request, _: Identity) -> object:
        """GET /status/{uuid or name}: one server, with its rollouts and how long its engines took to start."""
        server = await servers.find_server(self._db, request.path_params["name"])
        return await rollouts.with_rollouts(self._db, await cold_starts.detailed(self._db, server))

    async def evaluations(self, request: Request, _: Identity) -> object:
        """GET /evaluations: which models were compared for which alias."""
        return _named("evaluations", await evaluations.list_evaluations(self._db, request.query_params))

    async def evaluation(self, request: Request, _: Identity) -> object:
        """GET /evaluations/{id}: one, with each candidate's score, answers and reasons."""
        return await evaluations.find_evaluation(self._db, request.path_params["id"])

    async def usage(self, request: Request, who: Identity) -> object:
        """GET /usage: tokens by day, model, caller and key; requests with errors, which engines failed (5xx) or callers left."""
        return _named("usage", await usage.sum_usage(self._db, who, request.query_params))

    async def dead_letters(self, request: Request, _: Identity) -> object:
        """GET /deadletters: what could not be delivered."""
        return _named("dead_letters", await deadletters.list_dead_letters(self._db, request.query_params))

    async def dead_letter(self, request: Request, _: Identity) -> object:
        """GET /deadletters/{id}: one, with the event's data."""
        return await deadletters.find_dead_letter(self._db, request.path_params["number"])


class Redrives:
    """What operators have sent again."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def one(self, request: Request, who: Identity) -> object:
        """POST /deadletters/{id}/redrive: 202 and the letter; one that is under way is not sent a second time."""
        return await redrive.one(self._deps.db, self._deps.bus, request.path_params["number"], who)

    async def matching(self, request: Request, who: Identity) -> object:
        """POST /deadletters/redrive: all that match the filter in the body, a thousand at most; 202 and how many."""
        return await redrive.matching(self._deps.bus, await app.body(request, Filter), who)


class Inputs:
    """What the Broker brings."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def table(self) -> Mapping[str, Handler]:
        """Type -> handler."""
        news = {kind.TYPE: functools.partial(self.news, kind) for kind in feed.FOLLOWED}
        own = {UsageRecorded.TYPE: self.usage, EngineStarted.TYPE: self.start, events.TICK: self.tick}
        return {**news, **own}

    async def dead_letter(self, request: Request) -> Response:
        """POST /deadletters: 204 with an empty body, as for every event.

        Signatures are not asked for: a wrong one is a reason to be here.
        """
        self._deps.trust.require_broker(request.headers)
        await deadletters.store(self._deps.db, events.parse(request.headers, await request.body()))
        return Response(status_code=204)

    async def usage(self, event: CloudEvent) -> None:
        """`usage.recorded`: a batch from an engine."""
        async with self._deps.bus.transaction(cause=event) as unit:
            await usage.store(unit, event, self._deps.trust.namespace)

    async def news(self, kind: type[Event], event: CloudEvent) -> None:
        """What people follow."""
        async with self._deps.bus.transaction(cause=event) as unit:
            await feed.store(unit, event, kind)

    async def start(self, event: CloudEvent) -> None:
        """`engine.started`: one cold start."""
        async with self._deps.bus.transaction(cause=event) as unit:
            await cold_starts.store(unit, event)

    async def tick(self, _: CloudEvent) -> None:
        """The tick: send what the outbox still holds, forget old history and old news."""
        await self._deps.bus.resend()
        for forget in (SQL.forget_history, SQL.forget_cold_starts, SQL.forget_wakes):
            await self._deps.db.execute(forget)
        await self._deps.db.execute(SQL.forget_news)


def _get(deps: Deps, action: str, read: Read, status: int = 200) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint for callers who may do `action`. Raises Unauthorized, Forbidden."""

    @functools.wraps(read)
    async def endpoint(request: Request) -> Response:
        who = await deps.verifier.identify(request.headers.get("authorization"))
        who.require(action)
        return app.json(await read(request, who), status)

    return endpoint


# What is accepted now and done by the Broker later.
_post = functools.partial(_get, status=202)


def _named(name: str, page: Page[Any]) -> Mapping[str, object]:
    return {name: page.items, "next_cursor": page.next_cursor}


def _now() -> datetime:
    return datetime.now(UTC)
