"""What a function believes when an event arrives: our own Broker, and what one of us has signed."""

from typing import Any

import httpx
import pytest
from starlette.routing import Route

from functions.kit import app, bus, events
from functions.kit.events import TICK, CloudEvent, ModelRequested
from tests.deliveries import TRUST, delivered, signed

DATA = b'{"model_uuid":"m"}'


async def post(headers: dict[str, str], kind: str = ModelRequested.TYPE) -> tuple[int, Any, list[str]]:
    """POST one event to a function. Answers status, problem and what its handlers got."""
    got: list[str] = []

    async def handle(event: CloudEvent) -> None:
        got.append(event.id)

    routes = [Route("/events", bus.endpoint({kind: handle}, TRUST), methods=["POST"])]
    transport = httpx.ASGITransport(app.build(routes, ready={}))
    async with httpx.AsyncClient(transport=transport, base_url="http://function") as client:
        answer = await client.post("/events", headers=headers, content=DATA)
    return answer.status_code, answer.json() if answer.content else None, got


def event(kind: str = ModelRequested.TYPE) -> dict[str, str]:
    """An event without signature, as a stranger would send it."""
    return events.headers("1", "/torpor/download", kind, "m", {"actor": "ann"})


async def test_our_own_event_is_handled() -> None:
    """Signed, and delivered by our Broker."""
    assert (204, None, ["1"]) == await post(signed(event(), DATA))


@pytest.mark.parametrize("namespace", [None, "", "other", "Torpor", "torpor,other", "torporx"])
async def test_a_delivery_of_another_namespace_is_refused(namespace: str | None) -> None:
    """403, which no broker retries, with the cause and the next step; nothing is handled."""
    headers = {name: text for name, text in signed(event(), DATA).items() if name != "Kn-Namespace"}
    status, problem, got = await post(headers if namespace is None else {**headers, "kn-namespace": namespace})
    assert (403, "urn:torpor:problem:foreign-broker", []) == (status, problem["type"], got)
    assert "TORPOR_NAMESPACE" in problem["detail"]


async def test_an_event_that_nobody_signed_is_refused() -> None:
    """Whoever reaches the Broker's ingress could otherwise ask for models in anybody's name."""
    status, problem, got = await post(delivered(event()))
    assert (403, "urn:torpor:problem:not-signed", []) == (status, problem["type"], got)
    assert "torpor-events" in problem["detail"]


async def test_a_changed_actor_is_refused() -> None:
    """Who asked is what the signature is for."""
    status, _, got = await post({**signed(event(), DATA), "ce-actor": "root"})
    assert (403, []) == (status, got)


async def test_events_of_knatives_sources_need_no_signature() -> None:
    """They cannot have one; their handlers take them for hints."""
    assert (204, None, ["1"]) == await post(delivered(event(TICK)), TICK)


def test_an_unsigned_event_acts_in_nobodys_name() -> None:
    """What it causes is signed by us: an actor that a stranger wrote into it must not get there."""
    made_up = events.parse(event(TICK), DATA)
    assert ("ann", "") == (made_up.actor, TRUST.believed(made_up).actor)
    ours = events.parse(signed(event(), DATA), DATA)
    assert ours == TRUST.believed(ours)
