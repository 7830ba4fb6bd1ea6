"""What a model does wrong is what the stub can be told to do, and the edge books it as an engine's failure."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conformance.engines import MODEL, SERVER, Engine, running, stub
from tests.conformance.platform import Platform
from tests.conformance.test_engine_usage import WAIT_S, record_of

WISH = {"model": SERVER, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}


@pytest.fixture
def behaving(request: pytest.FixtureRequest, platform: Platform, tmp_path: Path) -> Iterator[Engine]:
    """A stub with the behaviour that the test names."""
    settings = {"TORPOR_STUB_BEHAVIOUR": json.dumps({MODEL: request.param})}
    with running(stub, platform, settings, tmp_path / "log") as started:
        yield started


@pytest.mark.parametrize("behaving", [{"fails_percent": 50}], indirect=True)
def test_failures_are_booked_with_their_status(behaving: Engine) -> None:
    """Every second request: no more and no less, so that a test can count on it; nothing is charged for them."""
    with behaving.client() as client:
        answers = [client.post("/v1/chat/completions", json=WISH) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 500, 200, 500]
    record = record_of(behaving, answers[1].headers["x-request-id"])
    assert (record["status"], record["prompt_tokens"], record["completion_tokens"]) == (500, 0, 0)


@pytest.mark.parametrize("behaving", [{"breaks": True, "text": "Paris is it"}], indirect=True)
def test_a_stream_that_breaks_is_an_error_with_its_tokens(behaving: Engine) -> None:
    """The answer began as 200; what was sent is charged, and the revision is to blame."""
    with behaving.client() as client:
        answer = client.post("/v1/chat/completions", json={**WISH, "stream": True})
    record = record_of(behaving, answer.headers["x-request-id"])
    assert ("Paris" in answer.text, record["status"], record["completion_tokens"]) == (True, 500, 1)


def test_who_does_not_wait_for_a_whole_answer_stops_it(platform: Platform, tmp_path: Path) -> None:
    """As vLLM's routes do (their `with_cancellation`): the answer ends when its caller hangs up, and is booked as cut off."""
    with running(stub, platform, {"TORPOR_STUB_TOKEN_DELAY_MS": "100"}, tmp_path / "log") as slow:
        seen, deadline = len(platform.records()), time.monotonic() + WAIT_S
        with slow.client() as client, pytest.raises(httpx.ReadTimeout):
            client.post("/v1/chat/completions", json={**WISH, "max_tokens": 600}, timeout=1)
        while len(platform.records()) == seen and time.monotonic() < deadline:
            time.sleep(0.05)
    (record,) = platform.records()[seen:]
    assert (record["status"], record["completion_tokens"], record["duration_ms"] < 60_000) == (499, 0, True)
