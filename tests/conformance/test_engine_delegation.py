"""In whose name usage is booked, whichever engine is behind the edge."""

import httpx

from tests.conformance.engines import SERVER, Engine
from tests.conformance.test_engine_usage import record_of

ASK = {"model": SERVER, "prompt": "a", "max_tokens": 1}
FOR_EVE = {"torpor-subject": "eve", "torpor-key-id": "eveskey1"}


def booked(engine: Engine, credential: str) -> tuple[str, str | None]:
    """Subject and key of one question that names eve."""
    with engine.client(credential) as client:
        answer: httpx.Response = client.post("/v1/completions", json=ASK, headers=FOR_EVE)
    assert answer.status_code == 200
    record = record_of(engine, answer.headers["x-request-id"])
    return record["subject"], record["key_id"]


def test_a_service_asks_for_a_person(engine: Engine) -> None:
    """What serve asks on somebody's behalf is that person's usage."""
    key = engine.platform.api_key(
        subject="torpor-serve", role="service", actions=["infer", "delegate"], key_id="servekey"
    )
    assert booked(engine, f"Bearer {key}") == ("eve", "eveskey1")


def test_a_person_cannot_book_on_another(engine: Engine) -> None:
    """The same headers from anybody else mean nothing, whatever the role."""
    assert booked(engine, f"Bearer {engine.platform.token(role='admin')}") == ("ada", None)
