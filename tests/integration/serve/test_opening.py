"""The way in to a server: its route is there when the cluster leads to it, before the record says ready, and not earlier."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kn_model.local.objects.kinds import HTTP_ROUTE, SERVICE
from tests.integration.serve.world import Killed, World, world

READY, UNREADY = ("Ready", "True", ""), ("Ready", "Unknown", "Deploying")
CHANGED = "dev.knative.apiserver.resource"


@pytest.fixture
async def serve(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """The function and the world around it."""
    async with world(database_url, tmp_path) as running:
        yield running


async def test_a_route_leads_in_once_the_service_can_be_reached(serve: World) -> None:
    """Before that the gateway's own route says what the server is at; afterwards a later revision changes nothing."""
    await serve.running()
    seen = [(serve.cluster.names(SERVICE), serve.cluster.names(HTTP_ROUTE))]
    for report in (UNREADY, READY, UNREADY):
        await serve.tell(*await serve.cluster.report("smol", report))
        seen.append((serve.cluster.names(SERVICE), serve.cluster.names(HTTP_ROUTE)))
    assert seen == [(["smol"], [])] * 2 + [(["smol"], ["model-smol"])] * 2


async def test_a_tick_opens_what_an_event_should_have(serve: World) -> None:
    """The news that the Service is reachable was lost."""
    await serve.running()
    await serve.cluster.report("smol", READY)
    await serve.tick()
    assert (serve.cluster.names(HTTP_ROUTE), (await serve.status("smol"))[0]) == (["model-smol"], "ready")


@pytest.mark.parametrize("calls", range(3))
async def test_killed_after_any_call_while_opening(serve: World, calls: int) -> None:
    """A Service that became reachable: one route, and the record says `ready` only when it is there."""
    await serve.running()
    (told,) = await serve.cluster.report("smol", READY)
    serve.api.calls_left = calls
    with pytest.raises(Killed):
        await serve.event(f"{CHANGED}.update", told, id="ready")
    assert await serve.status("smol") == ("deploying", None)
    assert (await serve.event(f"{CHANGED}.update", told, id="ready")).status_code == 204
    assert (serve.cluster.names(HTTP_ROUTE), await serve.status("smol")) == (["model-smol"], ("ready", None))


async def test_a_route_that_is_refused_is_shown(serve: World) -> None:
    """In the API's own words, as where a cluster lacks the Gateway API."""
    await serve.running()
    serve.cluster.faults = [(404, "the server could not find the requested resource")] * 2
    await serve.tell(*await serve.cluster.report("smol", READY))
    assert await serve.deliver() == [204]
    assert (await serve.status("smol"))[0] == "failed"
    assert "could not find the requested resource" in str((await serve.status("smol"))[1])
