"""The function `download`: its routing table, and the thin handlers behind it.

People and programs POST and DELETE models; the Broker posts `model.requested`, `file.requested` and ticks to `/events`,
which carries no token: on the cluster only the Broker reaches it, since the front door routes /models alone.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from functions.download.pulls import Pulls
from functions.download.requests import PullRequest
from functions.download.settings import Settings
from functions.kit import app, bus, events
from functions.kit.bus import Bus, HttpPublisher
from functions.kit.db import Database
from functions.kit.events import CloudEvent, FileRequested, ModelRequested
from functions.kit.identity import Identity
from functions.kit.objects import S3Objects
from functions.kit.remote import verifier

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
    objects = S3Objects(
        settings.s3_endpoint, settings.s3_region, settings.s3_access_key, settings.s3_secret_key, settings.s3_bucket
    )
    outgoing = Bus(db, SOURCE, HttpPublisher(settings.broker_url))

    @cache
    def workshop() -> "Workshop":
        from functions.download.workshop import Workshop

        return Workshop(settings, db, outgoing, objects)

    pulls = Pulls(db, outgoing, settings.allowed_source_hosts)
    caller = verifier(settings.jwks_url, settings.verify_url)
    return app.build(routes(pulls, workshop, caller), ready={"PostgreSQL": db.ping, "S3": objects.ping})


def routes(pulls: Pulls, workshop: "Callable[[], Workshop]", caller: Verifies) -> Sequence[BaseRoute]:
    """The API of `download`."""

    async def operator(request: Request) -> str:
        who = await caller.identify(request.headers.get("authorization"))
        who.require("operate")
        return who.subject

    async def pull(request: Request) -> Response:
        actor = await operator(request)
        record = await pulls.pull(await app.body(request, PullRequest), actor)
        return app.json(record, 202, {"Location": f"/models/{record['uuid']}"})

    async def retry(request: Request) -> Response:
        return app.json(await pulls.retry(request.path_params["model"], await operator(request)), 202)

    async def cancel(request: Request) -> Response:
        record = await pulls.cancel(request.path_params["model"], await operator(request))
        await workshop().cleanup.abort_uploads(record["uuid"])
        return app.json(record)

    async def delete(request: Request) -> Response:
        model_uuid = await pulls.delete(request.path_params["model"], await operator(request))
        await workshop().cleanup.delete_objects(model_uuid)
        return Response(status_code=204)

    async def plan(event: CloudEvent) -> None:
        await workshop().planner.on_model_requested(event)

    async def transfer(event: CloudEvent) -> None:
        await workshop().slices.on_file_requested(event)

    async def tick(event: CloudEvent) -> None:
        await workshop().upkeep.on_tick(event)

    handlers = {ModelRequested.TYPE: plan, FileRequested.TYPE: transfer, events.TICK: tick}
    return [
        Route("/models", pull, methods=["POST"]),
        Route("/models/{model}", delete, methods=["DELETE"]),
        Route("/models/{model}/retry", retry, methods=["POST"]),
        Route("/models/{model}/cancel", cancel, methods=["POST"]),
        Route("/events", bus.endpoint(handlers), methods=["POST"]),
    ]
