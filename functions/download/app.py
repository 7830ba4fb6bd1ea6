"""The function `download`: its routing table, and the thin handlers behind it.

People and programs POST and DELETE models; the Broker posts `model.requested`, `file.requested` and ticks to `/events`,
which carries no token: `kit.trust` says what is believed there. The front door routes /models alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from functions.download.pulls import Pulls
from functions.download.requests import CollectRequest, PullRequest
from functions.download.settings import Settings
from functions.kit import app, bus, events
from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.events import CloudEvent, FileRequested, ModelRequested
from functions.kit.identity import Identity
from functions.kit.publisher import HttpPublisher
from functions.kit.remote import verifier
from functions.kit.signature import Keyring
from functions.kit.trust import Trust

if TYPE_CHECKING:
    from functions.download.workshop import Workshop

SOURCE = "/torpor/download"


class Verifies(Protocol):
    """Turns an Authorization header into an identity; raises Unauthorized."""

    async def identify(self, authorization: str | None) -> Identity:
        """Who calls."""


def build(settings: Settings) -> Starlette:
    """The function, from its settings; everything it depends on opens at first use."""
    db = Database(settings.database_url)
    objects = settings.objects()
    trust = Trust(settings.namespace, Keyring(settings.event_keys))
    outgoing = Bus(db, SOURCE, HttpPublisher(settings.broker_url), trust.keyring)

    @cache
    def workshop() -> "Workshop":
        from functions.download.workshop import Workshop

        return Workshop(settings, db, outgoing, objects)

    pulls = Pulls(db, outgoing, settings.allowed_source_hosts, settings.allowed_source_folders)
    caller = verifier(settings.jwks_url, settings.verify_url)
    return app.build(routes(pulls, workshop, caller, trust), ready={"PostgreSQL": db.ping, "S3": objects.ping})


def routes(pulls: Pulls, workshop: "Callable[[], Workshop]", caller: Verifies, trust: Trust) -> Sequence[BaseRoute]:
    """The API of `download`."""
    calls, deliveries = Calls(pulls, workshop, caller), Deliveries(workshop)
    handlers = {
        ModelRequested.TYPE: deliveries.plan,
        FileRequested.TYPE: deliveries.transfer,
        events.TICK: deliveries.tick,
    }
    return [
        Route("/models", calls.pull, methods=["POST"]),
        Route("/models/gc", calls.collect, methods=["POST"]),
        Route("/models/{model}", calls.delete, methods=["DELETE"]),
        Route("/models/{model}/retry", calls.retry, methods=["POST"]),
        Route("/models/{model}/cancel", calls.cancel, methods=["POST"]),
        Route("/events", bus.endpoint(handlers, trust), methods=["POST"]),
    ]


class Calls:
    """What people and programs ask; all of it for operators."""

    def __init__(self, pulls: Pulls, workshop: "Callable[[], Workshop]", caller: Verifies) -> None:
        self._pulls = pulls
        self._workshop = workshop
        self._caller = caller

    async def pull(self, request: Request) -> Response:
        """202 and the record; the same request again answers the same record."""
        actor = await self._operator(request)
        record = await self._pulls.pull(await app.body(request, PullRequest), actor)
        return app.json(record, 202, {"Location": f"/models/{record['uuid']}"})

    async def retry(self, request: Request) -> Response:
        """202 and the record of a failed model, which starts anew."""
        return app.json(await self._pulls.retry(request.path_params["model"], await self._operator(request)), 202)

    async def cancel(self, request: Request) -> Response:
        """The record, failed as cancelled; what S3 had of it is given up."""
        record = await self._pulls.cancel(request.path_params["model"], await self._operator(request))
        await self._workshop().cleanup.abort_uploads(record["uuid"])
        return app.json(record)

    async def delete(self, request: Request) -> Response:
        """204; refused while a server uses the model."""
        model_uuid = await self._pulls.delete(request.path_params["model"], await self._operator(request))
        await self._workshop().cleanup.delete_objects(model_uuid)
        return Response(status_code=204)

    async def collect(self, request: Request) -> Response:
        """Content that no model refers to: what went, or with dry_run what would go. now: without the grace period."""
        await self._operator(request)
        asked = await app.body(request, CollectRequest)
        collector = self._workshop().collector
        grace_s = 0.0 if asked.now else None
        if asked.dry_run:
            found = await collector.foresee(grace_s)
        else:
            await collector.look_for_leftovers()
            found = await collector.collect(grace_s)
        return app.json({"dry_run": asked.dry_run, **asdict(found)})

    async def _operator(self, request: Request) -> str:
        who = await self._caller.identify(request.headers.get("authorization"))
        who.require("operate")
        return who.subject


class Deliveries:
    """What the Broker brings."""

    def __init__(self, workshop: "Callable[[], Workshop]") -> None:
        self._workshop = workshop

    async def plan(self, event: CloudEvent) -> None:
        """`model.requested`."""
        await self._workshop().planner.on_model_requested(event)

    async def transfer(self, event: CloudEvent) -> None:
        """`file.requested`: one slice of one file."""
        await self._workshop().slices.on_file_requested(event)

    async def tick(self, event: CloudEvent) -> None:
        """The tick: send what is left, re-drive what has stalled."""
        await self._workshop().upkeep.on_tick(event)
