"""What an answer means: done, refused by the model itself, or to be asked again."""

import pytest

from functions.serve.asking import Answer
from functions.serve.inference import outcome
from functions.serve.inference.outcome import Answered, Later, Refused

OPENAI = b'{"error": {"message": "too long", "type": "invalid_request_error"}}'
PROBLEM = b'{"title": "Not starting", "detail": "no replica is ready"}'


def answer(status: int, body: bytes) -> Answer:
    """An answer of somebody."""
    return Answer(status, body, 1, {})


def test_success_is_an_answer() -> None:
    """Its bytes are kept as they are."""
    assert outcome.of(answer(200, b"{}")) == Answered(b"{}")


@pytest.mark.parametrize("status", [400, 404, 405, 413, 415, 422])
def test_the_models_refusal_is_final(status: int) -> None:
    """Said in OpenAI's shape: its own words."""
    assert outcome.of(answer(status, OPENAI)) == Refused(status, "too long")


@pytest.mark.parametrize("status", [401, 403, 408, 409, 425, 429, 500, 502, 503, 504, 302, 100])
def test_everything_else_may_work_later(status: int) -> None:
    """Serve's own key, the moment, the engine, a redirect: nothing that the request could help."""
    assert outcome.of(answer(status, OPENAI)) == Later(status, f"answered {status}: too long")


@pytest.mark.parametrize("body", [PROBLEM, b"<html>", b"", b"[1]", b"\xff", b'{"error": "text"}'])
@pytest.mark.parametrize("status", [400, 404, 413])
def test_an_ingress_is_not_the_model(status: int, body: bytes) -> None:
    """What is not in OpenAI's shape comes from somebody in between."""
    came = outcome.of(answer(status, body))
    assert isinstance(came, Later)


def test_a_front_door_that_speaks_openais_shape_is_not_the_model_either() -> None:
    """While a server's Service is being made, the door answers 404 in a problem that OpenAI's clients can read."""
    problem = {"content-type": "application/problem+json; charset=utf-8"}
    assert outcome.of(Answer(404, OPENAI[:-1] + b', "detail": "no service"}', 1, problem)) == Later(
        404, "answered 404: no service"
    )


def test_a_problems_detail_is_told() -> None:
    """And nothing that PostgreSQL could not hold."""
    assert outcome.of(answer(503, PROBLEM)) == Later(503, "answered 503: no replica is ready")
    assert "\x00" not in outcome.of(answer(503, b"a\x00b")).error  # type: ignore[union-attr]  # it is Later
    assert outcome.of(answer(400, b'{"error": {"message": "a\\u0000b"}}')) == Refused(400, "ab")


def test_errors_are_cut() -> None:
    """An engine may quote the whole prompt."""
    came = outcome.of(answer(400, b'{"error": {"message": "%s"}}' % (b"x" * 5000)))
    assert isinstance(came, Refused)
    assert len(came.error) == outcome.MAX_ERROR


def test_waiting_doubles_up_to_its_cap() -> None:
    """Half fixed, half by chance."""
    assert [outcome.wait_s(attempts, lambda: 1.0) for attempts in (1, 2, 3, 4, 20)] == [2.0, 4.0, 8.0, 16.0, 60.0]
    assert outcome.wait_s(3, lambda: 0.0) == 4.0
