"""Signatures: whatever of an event decides what happens cannot be changed, and no key does another's work."""

import dataclasses
import json

import pytest

from functions.kit import events, signature
from functions.kit.events import CloudEvent, FileRequested, UsageRecorded
from functions.kit.settings import Keys, Secret
from functions.kit.signature import Keyring
from tests.deliveries import ENGINE_KEYS, FUNCTION_KEYS, KEYRING

EVENT = CloudEvent(
    "1", "/torpor/download", FileRequested.TYPE, "m-1", {"actor": "ann", "modelname": "smol"}, b'{"a":1}'
)
NEW = Secret("a new key that follows the old one")


def signed(event: CloudEvent, keyring: Keyring = KEYRING) -> CloudEvent:
    """The event with its signature."""
    return dataclasses.replace(event, extensions={**event.extensions, signature.NAME: keyring.sign(event)})


def test_a_signed_event_is_believed() -> None:
    """Also after hops that added what brokers add."""
    travelled = signed(EVENT)
    added = {"traceparent": "00-1-2-01", "knativearrivaltime": "2026-01-01T00:00:00Z", "knativeerrorcode": "500"}
    assert KEYRING.verifies(dataclasses.replace(travelled, extensions={**travelled.extensions, **added}))


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "2"},
        {"source": "/torpor/serve"},
        {"type": "dev.torpor.model.requested.v1"},
        {"subject": "m-2"},
        {"data": b'{"a":2}'},
        {"data": b'{"a": 1}'},
        {"data": b""},
    ],
)
def test_a_changed_event_is_not_believed(changes: dict[str, str]) -> None:
    """Every attribute that a handler acts on, and every byte of the data, is covered."""
    assert not KEYRING.verifies(dataclasses.replace(signed(EVENT), **changes))  # type: ignore[arg-type]  # the table's


@pytest.mark.parametrize("name", ["actor", "modelname"])
@pytest.mark.parametrize("value", ["bob", "", None])
def test_a_changed_extension_is_not_believed(name: str, value: str | None) -> None:
    """Changed, emptied or taken out."""
    extensions = {**signed(EVENT).extensions, name: value}
    kept = {key: text for key, text in extensions.items() if text is not None}
    assert not KEYRING.verifies(dataclasses.replace(EVENT, extensions=kept))


@pytest.mark.parametrize("given", ["", "AAAA", "é", signature.sign(ENGINE_KEYS[0], EVENT), "x" * 100_000])
def test_a_made_up_signature_is_not_believed(given: str) -> None:
    """Nor does one that is nonsense raise anything."""
    assert not KEYRING.verifies(dataclasses.replace(EVENT, extensions={**EVENT.extensions, signature.NAME: given}))


def test_an_event_without_a_signature_is_not_believed() -> None:
    """Nothing stands in for it."""
    assert not KEYRING.verifies(EVENT)


@pytest.mark.parametrize("kind", [kind.TYPE for kind in events.ALL])
def test_engines_sign_usage_and_their_starts_and_nothing_else(kind: str) -> None:
    """An engine runs other people's models: one that is taken over cannot ask for more. Nor do functions count usage."""
    of_engines = kind in {"dev.torpor.usage.recorded.v1", "dev.torpor.engine.started.v1"}
    event = dataclasses.replace(EVENT, type=kind)
    by_engine = {**event.extensions, signature.NAME: signature.sign(ENGINE_KEYS[0], event)}
    by_function = {**event.extensions, signature.NAME: signature.sign(FUNCTION_KEYS[0], event)}
    believed = [KEYRING.verifies(dataclasses.replace(event, extensions=given)) for given in (by_engine, by_function)]
    assert [of_engines, not of_engines] == believed


def test_without_keys_nothing_is_believed() -> None:
    """A function that has no engines' keys believes no engine."""
    event = signed(dataclasses.replace(EVENT, type=UsageRecorded.TYPE))
    assert not Keyring(FUNCTION_KEYS).verifies(event)


def test_one_key_follows_another() -> None:
    """The first signs, all verify; what a dropped key signed is no longer believed."""
    old, both = Keyring(FUNCTION_KEYS), Keyring(Keys((NEW, *FUNCTION_KEYS)))
    new = Keyring(Keys((NEW,)))
    before, after = signed(EVENT, old), signed(EVENT, both)
    assert [both.verifies(before), both.verifies(after)] == [True, True]
    assert [new.verifies(before), new.verifies(after), old.verifies(after)] == [False, True, False]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"id": "ab", "source": "c"}, {"id": "a", "source": "bc"}),
        ({"id": "a\0b", "source": "c"}, {"id": "a", "source": "b\0c"}),
        ({"subject": "x", "extensions": {"actor": ""}}, {"subject": "", "extensions": {"actor": "x"}}),
        ({"extensions": {"actor": "x"}}, {"extensions": {"modelname": "x"}}),
        ({"subject": "é"}, {"subject": "e\u0301"}),
    ],
)
def test_what_is_signed_has_one_reading(one: dict[str, str], other: dict[str, str]) -> None:
    """No attribute can borrow characters of its neighbour."""
    first, second = (dataclasses.replace(EVENT, **changes) for changes in (one, other))  # type: ignore[arg-type]  # likewise
    assert signature.canonical(first) != signature.canonical(second)


def test_the_signature_stays_what_it_is() -> None:
    """A known answer: a new release has to believe what an older one has signed."""
    assert KEYRING.sign(EVENT) == "RYeSaqhyC912jBOvINOKrYqEJ5W61jZ0N_0IzPj5BqQ"


def test_a_signature_survives_the_structured_mode() -> None:
    """A Trigger with `format: json` delivers the data inside a document that the broker wrote anew."""
    event = signed(dataclasses.replace(EVENT, data=b'{"path":"a/\xc3\xa9<b>&c","slice_number":3}'))
    document = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        **event.extensions,
        "data": json.loads(event.data),
    }
    received = events.parse({"content-type": "application/cloudevents+json"}, json.dumps(document).encode())
    assert KEYRING.verifies(received)
