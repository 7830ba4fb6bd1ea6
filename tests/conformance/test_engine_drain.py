"""An engine that is told to end finishes what it has begun, books it, and ends."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.engines import SERVER, Engine, running, stored_model, stub, vllm
from tests.conformance.platform import Platform

# On a busy machine the real engine makes a few tokens a second, and has to be done in the drain time.
TOKENS = 24
# Slow enough that the stream is still under way when the signal arrives.
SLOW = {"TORPOR_STUB_TOKEN_DELAY_MS": "20"}


@pytest.fixture(params=["stub", pytest.param("vllm", marks=pytest.mark.engine)])
def own_engine(request: pytest.FixtureRequest, platform: Platform, tmp_path: Path) -> Iterator[Engine]:
    """An engine that this test may end."""
    if request.param == "stub":
        with running(stub, platform, SLOW, tmp_path / "log") as started:
            yield started
    else:
        with (
            stored_model(tmp_path) as settings,
            running(vllm, platform, settings, tmp_path / "log") as started,
        ):
            yield started


def test_stream_ends_and_is_booked_after_sigterm(own_engine: Engine) -> None:
    """Scale to zero and roll-outs send SIGTERM: the reader of a stream must not notice, and no token is lost."""
    wish = {"model": SERVER, "messages": [{"role": "user", "content": "Count."}], "max_tokens": TOKENS, "stream": True}
    with (
        own_engine.client() as client,
        client.stream("POST", "/v1/chat/completions", json={**wish, "ignore_eos": True}) as answer,
    ):
        request_id = answer.headers["x-request-id"]
        lines = answer.iter_lines()
        next(lines)
        own_engine.process.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    assert own_engine.process.wait(60) == 0
    booked = [record for record in own_engine.platform.records() if record["request_id"] == request_id]
    assert [(record["status"], record["completion_tokens"]) for record in booked] == [(200, TOKENS)]
