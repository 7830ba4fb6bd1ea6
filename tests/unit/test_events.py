"""Events on the wire: strict parsing, and that what we send is what we read."""

import json

import httpx
import pytest
from starlette.datastructures import Headers
from starlette.routing import Route

from functions.kit import app, bus, events
from functions.kit.problem import Problem, Reject, TooLarge
from tests.deliveries import TRUST, delivered
from tests.malformed import GOOD, MALFORMED


def test_what_is_sent_is_what_is_read() -> None:
    """Headers made by `headers` parse to the same attributes, whatever characters they have."""
    extensions = {"actor": 'Zoë "the first" 100%', "traceparent": "00-ab-cd-01"}
    sent = events.headers("id-1", "/torpor/download", "a.type", "sub ject", extensions)
    expected = events.CloudEvent("id-1", "/torpor/download", "a.type", "sub ject", extensions, b"{}")
    assert expected == events.parse(sent, b"{}")


def test_what_is_not_there_is_not_sent() -> None:
    """No subject is no header: brokers refuse an empty one. The data's type, where it is known, is the Content-Type."""
    sent = events.headers("1", "/s", "t", "", {"datacontenttype": "text/plain"})
    expected = {"content-type": "text/plain", "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}
    assert expected == sent


def test_a_structured_event_is_read() -> None:
    """The structured mode carries attributes and data in one JSON document."""
    document = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "actor": "ann", "data": {"a": 1}}
    event = events.parse({"content-type": "application/cloudevents+json"}, json.dumps(document).encode())
    assert events.CloudEvent("1", "/s", "t", "", {"actor": "ann"}, b'{"a":1}') == event


@pytest.mark.parametrize("name", ["id", "source", "type", "specversion"])
def test_a_missing_attribute_is_refused(name: str) -> None:
    """None is invented: the id is half of the idempotency key."""
    with pytest.raises(Reject, match=f"attribute {name} "):
        events.parse({key: value for key, value in GOOD.items() if key != f"ce-{name}"}, b"{}")


@pytest.mark.parametrize(("headers", "body", "status"), [pytest.param(*case, id=what) for what, *case in MALFORMED])
async def test_what_is_no_event_is_the_senders_mistake(headers: dict[str, str], body: bytes, status: int) -> None:
    """400 or 413, which no broker retries, and never a server's error."""

    async def handle(_: events.CloudEvent) -> None:
        raise AssertionError("it came through")

    routes = [Route("/events", bus.endpoint({events.TICK: handle, "t": handle}, TRUST), methods=["POST"])]
    transport = httpx.ASGITransport(app.build(routes, ready={}))
    async with httpx.AsyncClient(transport=transport, base_url="http://function") as client:
        answer = await client.post("/events", headers=delivered(headers), content=body)
    assert (status, "application/problem+json") == (answer.status_code, answer.headers["content-type"])


def test_an_attribute_that_is_there_twice_is_refused() -> None:
    """Two readers could take another one of them each."""
    headers = Headers(raw=[*((name.encode(), text.encode()) for name, text in GOOD.items()), (b"ce-id", b"2")])
    with pytest.raises(Reject, match="twice"):
        events.parse(headers, b"{}")


def test_other_headers_may_be_there_twice() -> None:
    """Proxies add such."""
    headers = Headers(
        raw=[*((name.encode(), text.encode()) for name, text in GOOD.items()), (b"via", b"a"), (b"via", b"b")]
    )
    assert "1" == events.parse(headers, b"{}").id


@pytest.mark.parametrize("text", ["é", "日本", "\N{PILE OF POO}", "a b", '"', "%", "x" * 512])
def test_any_text_is_an_id(text: str) -> None:
    """What CloudEvents allows is taken, whatever the alphabet."""
    assert text == events.parse(events.headers(text, "/s", "t", "", {}), b"{}").id


def test_a_huge_event_is_refused() -> None:
    """Events carry pointers."""
    with pytest.raises(TooLarge):
        events.parse(GOOD, b"x" * (events.MAX_EVENT_BYTES + 1))


def test_data_that_does_not_fit_is_rejected() -> None:
    """A missing field is said by name; sending it again cannot help."""
    event = events.parse(GOOD, b'{"model_uuid": "m"}')
    with pytest.raises(Reject, match="path"):
        event.decode(events.FileRequested)


def test_data_of_a_newer_sender_is_read() -> None:
    """Fields may be added without breaking older receivers."""
    event = events.parse(GOOD, b'{"model_uuid": "m", "added": 1}')
    assert events.ModelRequested("m") == event.decode(events.ModelRequested)


def test_every_event_has_its_own_type_and_a_subject() -> None:
    """The wire types are distinct and versioned."""
    types = [kind.TYPE for kind in events.ALL]
    assert len(set(types)) == len(types)
    assert [] == [name for name in types if not (name.startswith("dev.torpor.") and name.endswith(".v1"))]
    assert events.FileRequested("m", "p", 0).subject == "m"


def test_rejecting_is_a_clients_error() -> None:
    """400 and 413 are not retried by Knative (only 404, 408, 409, 429 and 5xx are)."""
    problems: list[type[Problem]] = [Reject, TooLarge]
    assert [400, 413] == [problem.status for problem in problems]
