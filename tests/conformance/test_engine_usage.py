"""Every answer is booked once, with what it used, also for those who leave."""

import time
from typing import Any

import pytest

from tests.conformance.engines import MODEL, REVISION, SERVER, Engine

WAIT_S = 30


def record_of(engine: Engine, request_id: str) -> dict[str, Any]:
    """The usage record of a request, once the Broker has it."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        found = [record for record in engine.platform.records() if record["request_id"] == request_id]
        if found:
            assert len(found) == 1
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"no usage record for {request_id}")


@pytest.mark.parametrize("streamed", [False, True])
def test_answer_is_booked(engine: Engine, streamed: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """What the answer says it used is what is booked, streamed or not, under the caller's name."""
    wish = {"model": SERVER, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "stream": streamed}
    with engine.client() as client:
        answer = client.post("/v1/chat/completions", json={**wish, "ignore_eos": True})
    record = record_of(engine, answer.headers["x-request-id"])
    expected = {"subject": "ada", "key_id": None, "model_name": MODEL, "status": 200, "streamed": streamed}
    assert {name: record[name] for name in expected} == expected
    assert (record["prompt_tokens"] > 0, record["completion_tokens"]) == (True, 5)
    first = record["first_token_ms"]
    assert (record["revision"], first is not None) == (REVISION, streamed)
    assert 0 <= (first or 0) <= record["duration_ms"]


def test_several_choices_are_booked_in_sum(engine: Engine) -> None:
    """A stream of two answers costs both."""
    wish = {"model": SERVER, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "n": 2, "stream": True}
    with engine.client() as client:
        answer = client.post("/v1/chat/completions", json={**wish, "ignore_eos": True})
    assert record_of(engine, answer.headers["x-request-id"])["completion_tokens"] == 10


def test_who_leaves_early_is_booked_for_what_they_got(engine: Engine) -> None:
    """A stream that its reader abandons is booked up to there, and marked as cut off."""
    wish = {"model": SERVER, "messages": [{"role": "user", "content": "Count."}], "max_tokens": 1500, "stream": True}
    with (
        engine.client() as client,
        client.stream("POST", "/v1/chat/completions", json={**wish, "ignore_eos": True}) as answer,
    ):
        request_id = answer.headers["x-request-id"]
        read = answer.iter_lines()
        for _ in range(12):
            next(read)
    record = record_of(engine, request_id)
    assert (record["status"], record["prompt_tokens"] > 0) == (499, True)
    assert 0 < record["completion_tokens"] < 1500


def test_key_is_booked_by_its_id(engine: Engine) -> None:
    """Usage names the API key, so that it can be billed and limited."""
    key = engine.platform.api_key(key_id="k1")
    with engine.client(f"Bearer {key}") as client:
        answer = client.post("/v1/completions", json={"model": SERVER, "prompt": "a", "max_tokens": 1})
    assert record_of(engine, answer.headers["x-request-id"])["key_id"] == "k1"


def test_batches_are_cloudevents_of_this_server(engine: Engine) -> None:
    """The Broker gets `usage.recorded` events in binary mode whose subject is the server."""
    with engine.client() as client:
        answer = client.post("/v1/completions", json={"model": SERVER, "prompt": "a", "max_tokens": 1})
    record_of(engine, answer.headers["x-request-id"])
    headers, data = engine.platform.events[-1]
    sent = (headers["ce-specversion"], headers["ce-type"], headers["ce-subject"], data["server"])
    assert sent == ("1.0", "dev.torpor.usage.recorded.v1", SERVER, SERVER)
    assert (data["memory_mb"] > 10, data["cpu_percent"] >= 0) == (True, True)


def test_a_start_is_told_once_step_by_step(engine: Engine) -> None:
    """Where the wait went, in milliseconds since the process began; what an engine does not do has no figure."""
    deadline = time.monotonic() + WAIT_S
    while not (
        told := [data for headers, data in list(engine.platform.events) if "engine.started" in headers["ce-type"]]
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    start = [each for each in told if each["server"] == SERVER][-1]
    steps = [start[name] for name in ("fetched_ms", "loaded_ms", "ready_ms") if start[name] is not None]
    assert (start["revision"], steps, steps[-1] <= engine.ready_s * 1000 + 1000) == (REVISION, sorted(steps), True)
    assert len(steps) in {1, 3}
