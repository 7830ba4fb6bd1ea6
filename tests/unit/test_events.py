"""Events on the wire: strict parsing, and that what we send is what we read."""

import json

import pytest

from functions.kit import events
from functions.kit.problem import Problem, Reject, TooLarge

GOOD = {"ce-id": "1", "ce-source": "/s", "ce-type": "t", "ce-specversion": "1.0", "content-type": "application/json"}


def test_what_is_sent_is_what_is_read() -> None:
    """Headers made by `headers` parse to the same attributes, whatever characters they have."""
    extensions = {"actor": 'Zoë "the first" 100%', "traceparent": "00-ab-cd-01"}
    sent = events.headers("id-1", "/torpor/download", "a.type", "sub ject", extensions)
    expected = events.CloudEvent("id-1", "/torpor/download", "a.type", "sub ject", extensions, b"{}")
    assert expected == events.parse(sent, b"{}")


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


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (GOOD | {"ce-specversion": "0.3"}, b"{}"),
        (GOOD | {"ce-subject": "%C0%A0"}, b"{}"),
        (GOOD | {"ce-model_id": "x"}, b"{}"),
        ({"content-type": "application/cloudevents-batch+json"}, b"[]"),
        ({"content-type": "application/cloudevents+json"}, b"[]"),
        ({"content-type": "application/cloudevents+json"}, b"{"),
        ({"content-type": "application/cloudevents+json"}, b'{"id": ' + b"[" * 100_000),
        ({"content-type": "application/cloudevents+json"}, b'{"id": {}, "source": "s"}'),
        ({"content-type": "application/cloudevents+json"}, b'{"data_base64": "!"}'),
    ],
)
def test_what_is_no_event_is_rejected(headers: dict[str, str], body: bytes) -> None:
    """A client's error, never a server's: a broker must not retry it."""
    with pytest.raises(Reject):
        events.parse(headers, body)


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
