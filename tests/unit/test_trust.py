"""What a function believes when an event arrives: our own Broker, and what one of us has signed."""

from typing import Any

import httpx
import pytest
from starlette.routing import Route

from functions.kit import app, bus, events
from functions.kit.events import TICK, CloudEvent, ModelRequested, UsageRecorded
from functions.kit.signature import Keyring
from tests.deliveries import ENGINE_KEYS, FUNCTION_KEYS, TRUST, delivered, signed

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


# Who signs what, and 204 or the problem that a post without `Kn-Namespace` meets.
DIRECT = [
    pytest.param(UsageRecorded.TYPE, Keyring(engines=ENGINE_KEYS), "", id="usage, an engine"),
    pytest.param(UsageRecorded.TYPE, Keyring(engines=FUNCTION_KEYS), "not-signed", id="usage, the functions' key"),
    pytest.param(UsageRecorded.TYPE, None, "not-signed", id="usage, nobody"),
    pytest.param(ModelRequested.TYPE, Keyring(FUNCTION_KEYS), "foreign-broker", id="a model, a function"),
    pytest.param(ModelRequested.TYPE, Keyring(ENGINE_KEYS), "foreign-broker", id="a model, the engines' key"),
    pytest.param(TICK, None, "foreign-broker", id="a tick, nobody"),
]


@pytest.mark.parametrize(("kind", "keyring", "problem"), DIRECT)
async def test_usage_alone_may_come_without_a_broker(kind: str, keyring: Keyring | None, problem: str) -> None:
    """An engine's signature proves more than the header; everything else needs the Broker, whoever signed it."""
    headers = event(kind)
    if keyring is not None:
        headers = {**headers, "ce-signature": keyring.sign(events.parse(headers, DATA))}
    status, said, got = await post(headers, kind)
    expected = (403, f"urn:torpor:problem:{problem}", []) if problem else (204, None, ["1"])
    assert expected == (status, said and said["type"], got)


@pytest.mark.parametrize("namespace", ["", "other"])
async def test_usage_through_a_foreign_broker_is_refused(namespace: str) -> None:
    """A header that is there has to be right: our engines send to our Broker or to status."""
    headers = {**signed(event(UsageRecorded.TYPE), DATA), "Kn-Namespace": namespace}
    status, problem, got = await post(headers, UsageRecorded.TYPE)
    assert (403, "urn:torpor:problem:foreign-broker", []) == (status, problem["type"], got)


async def test_what_is_no_event_is_told_so_first() -> None:
    """400 before anything is decided: which checks apply depends on the type."""
    status, _, got = await post({"content-type": "application/json"})
    assert (400, []) == (status, got)
