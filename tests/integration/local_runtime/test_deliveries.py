"""An event reaches a service in the same way whether it goes through the door's socket or through the door itself."""

import json
from typing import Any

import pytest

from kn_model.local.door.deliveries import DoorSend
from kn_model.local.eventing.cloudevent import CloudEvent
from kn_model.local.eventing.sender import HttpSend, Send

EVENT = CloudEvent(
    {"specversion": "1.0", "id": "\u00e9", "source": "/s", "type": "t", "datacontenttype": "x/y"}, b"data"
)
HEADERS = {"Kn-Namespace": "torpor", "x-request-id": "7", "knative-tag": "k", "knative-serving-tag": "not ours"}


@pytest.fixture(params=["through a socket", "directly"])
async def send(runtime: Any, request: pytest.FixtureRequest) -> Send:
    """Both ways."""
    over_http = HttpSend(runtime.client, runtime.door.own)
    return over_http if request.param == "through a socket" else DoorSend(runtime.door, over_http)


async def test_an_event_wakes_its_subscriber_and_arrives_whole(runtime: Any, echo: Any, send: Send) -> None:
    """Attributes, data, namespace and tracing headers are there; what the door says itself is the door's."""
    await runtime.store.create(echo("hello"))
    await runtime.ready("hello")
    answer = await send(runtime.url + "/_svc/torpor/hello/events?x=1", EVENT, HEADERS, 20.0)
    said = json.loads(answer.body)
    seen = said["headers"]
    assert (answer.status, said["path"], said["body"]) == (200, "/events?x=1", 4)
    assert (seen["ce-id"], seen["content-type"], seen["prefer"]) == ("%C3%A9", "x/y", "reply")
    assert (seen["kn-namespace"], seen["x-request-id"], seen["knative-tag"]) == ("torpor", "7", "k")
    assert (seen["host"], seen["x-forwarded-for"]) == ("hello.torpor.svc.cluster.local", "127.0.0.1")
    assert {"knative-serving-tag", "torpor-delivery-proof"}.isdisjoint(seen)


async def test_an_answer_comes_whole(runtime: Any, echo: Any, send: Send) -> None:
    """However many pieces it comes in."""
    await runtime.store.create(echo("hello"))
    await runtime.ready("hello")
    answer = await send(runtime.url + "/_svc/torpor/hello/large/700000", EVENT, HEADERS, 20.0)
    assert len(json.loads(answer.body)["filling"]) == 700_000


async def test_what_does_not_answer_is_told_as_such(runtime: Any, echo: Any, send: Send) -> None:
    """No service, no answer in the delivery's or in the service's time, an instance that dies: each its status."""
    await runtime.store.create(echo("hello", timeoutSeconds=1))
    await runtime.ready("hello")
    found = []
    for path, timeout_s in (
        ("absent/events", 20.0),
        ("hello/slow/5", 0.2),
        ("hello/slow/5", 20.0),
        ("hello/exit/1", 20.0),
    ):
        answer = await send(f"{runtime.url}/_svc/torpor/{path}", EVENT, HEADERS, timeout_s)
        found.append(answer.status)
    assert found == [404, 0, 504, 502]


async def test_other_addresses_are_sent_to_over_http(send: Send) -> None:
    """Somebody's sink outside, of which the door knows nothing."""
    answer = await send("http://127.0.0.1:9/x", EVENT, HEADERS, 5.0)
    assert answer.status == 0
