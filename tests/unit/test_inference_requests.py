"""What callers send to `POST /inference`: read, refused, told apart."""

import base64
from typing import Any

import msgspec
import pytest

from functions.serve.inference import requests
from functions.serve.inference.requests import InferenceRequest, NoIdempotencyKey, NotAsynchronous

BODY = {"messages": [{"role": "user", "content": "Hi"}]}
SECRET = "whsec_" + base64.b64encode(bytes(24)).decode()


def read(**asked: Any) -> InferenceRequest:
    """A request as it comes."""
    return msgspec.json.decode(msgspec.json.encode({"server": "smol", "body": BODY, **asked}), type=InferenceRequest)


def test_the_server_is_named_in_the_body() -> None:
    """Unless the caller has said the model there; everything else passes as it came."""
    assert msgspec.json.decode(read().body_for("smol")) == {"model": "smol", **BODY}
    assert msgspec.json.decode(read(body={**BODY, "model": "other"}).body_for("smol"))["model"] == "other"


@pytest.mark.parametrize("stream", [True, 1, "yes"])
def test_a_stream_cannot_be_kept(stream: object) -> None:
    """An answer is kept whole."""
    with pytest.raises(NotAsynchronous):
        read(body={**BODY, "stream": stream}).body_for("smol")


@pytest.mark.parametrize(
    "asked",
    [
        {"server": None},
        {"model": "smol"},
        {"body": "text"},
        {"deadline_s": 0},
        {"deadline_s": requests.MAX_DEADLINE_S + 1},
        {"callback": {}},
        {"callback": {"url": "https://a.example", "more": 1}},
        {"callback": {"url": "https://a.example", "secret": "whsec_"}},
        {"callback": {"url": "https://a.example", "secret": SECRET.removeprefix("whsec_")}},
        {"callback": {"url": "https://a.example", "secret": "whsec_" + base64.b64encode(bytes(65)).decode()}},
        {"misspelt": 1},
    ],
)
def test_what_does_not_fit_is_refused(asked: dict[str, object]) -> None:
    """Unknown fields too, and a webhook's secret that is none."""
    with pytest.raises(msgspec.ValidationError):
        read(**asked)


def test_a_refused_secret_is_not_repeated() -> None:
    """The caller's answer and our log do not have it."""
    with pytest.raises(msgspec.ValidationError) as refused:
        read(callback={"url": "https://a.example", "secret": "hunter2-hunter2"})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("secret", [SECRET, ""])
def test_a_callback_may_be_signed(secret: str) -> None:
    """Or not."""
    callback = read(callback={"url": "https://a.example/x", "secret": secret}).callback
    assert callback is not None
    assert callback.secret == secret


@pytest.mark.parametrize(
    "other",
    [
        {"body": {**BODY, "n": 2}},
        {"path": "/v1/completions"},
        {"deadline_s": 60},
        {"callback": {"url": "https://a.example"}},
        {"server": "tiny"},
    ],
)
def test_another_request_has_another_fingerprint(other: dict[str, object]) -> None:
    """Whatever differs."""
    assert read(**other).fingerprint != read().fingerprint


def test_the_order_of_fields_says_nothing() -> None:
    """Clients write JSON objects as they like."""
    assert (
        read(body={"a": 1, "b": {"c": 2, "d": 3}}).fingerprint == read(body={"b": {"d": 3, "c": 2}, "a": 1}).fingerprint
    )


@pytest.mark.parametrize("headers", [[], ["a", "a"], [""], ["a b"], ["ä"], ["x" * 256]])
def test_a_key_is_needed(headers: list[str]) -> None:
    """One, of visible ASCII."""
    with pytest.raises(NoIdempotencyKey):
        requests.idempotency_key(headers)


@pytest.mark.parametrize("key", ["8e03978e-40d5-43e8-bc93-6894a57f9324", "x" * 255, '"quoted"'])
def test_a_key_is_the_callers_choice(key: str) -> None:
    """As it is."""
    assert requests.idempotency_key([key]) == key


def test_only_the_servers_paths_can_be_asked() -> None:
    """Those that its runtime takes POSTs at."""
    requests.require_path("/v1/embeddings", ("/v1/embeddings",))
    with pytest.raises(NotAsynchronous, match="/v1/embeddings"):
        requests.require_path("/health", ("/v1/embeddings",))
