"""Tokens are counted from the end of what was sent, whole, streamed or cut off."""

import json
from typing import Any

import pytest

from functions.serve.engine.meter import Meter


def event(completion: int, *indexes: int) -> bytes:
    """One chunk of a stream as the engine sends it."""
    usage = {"prompt_tokens": 7, "completion_tokens": completion, "total_tokens": 7 + completion}
    return b"data: " + json.dumps({"choices": [{"index": i} for i in indexes], "usage": usage}).encode() + b"\n\n"


def counted(parts: list[bytes], *, streamed: bool = True, choices: int = 1) -> tuple[int, int]:
    """What a meter says after these parts."""
    meter = Meter(streamed=streamed, choices=choices)
    for part in parts:
        meter.feed(part)
    return meter.tokens()


DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    "parts",
    [
        [*(event(i, 0) for i in range(1, 10)), event(9), DONE, b""],
        [*(event(i, 0) for i in range(1, 10)), event(9) + DONE],
        [event(9)[:20], event(9)[20:], DONE],
        [event(9)[:20], event(9)[20:] + DONE, b""],
    ],
)
def test_last_chunk_counts(parts: list[bytes]) -> None:
    """However the server cuts the end of a stream into messages."""
    assert counted(parts) == (7, 9)


def test_cut_off_stream_counts_what_was_sent() -> None:
    """Running totals make the last chunk that was sent enough."""
    assert counted([event(1, 0), event(2, 0), event(3, 0)]) == (7, 3)


def test_cut_off_choices_are_summed() -> None:
    """Each choice counts for itself until the last chunk, and one may have ended long ago."""
    parts = [event(1, 0), event(1, 1), *(event(i, 1) for i in range(2, 9))]
    assert counted(parts, choices=2) == (7, 9)


def test_finished_choices_are_not_summed_twice() -> None:
    """The last chunk of several choices has the sum already."""
    assert counted([event(2, 0), event(3, 1), event(5), DONE], choices=2) == (7, 5)


def test_nothing_sent_is_nothing_used() -> None:
    """Who left before the first token pays nothing."""
    assert counted([]) == (0, 0)


def test_error_inside_a_stream_keeps_the_count() -> None:
    """An engine that fails in the middle says so in the stream; what was generated was generated."""
    assert counted([event(4, 0), b'data: {"error": {"message": "x"}}\n\n', DONE]) == (7, 4)


@pytest.mark.parametrize(
    ("last", "streamed", "failed"),
    [
        (b'data: {"error": {"message": "x"}}\n\n', True, True),
        (event(4, 0), True, False),
        (b'data: {"error": null}\n\n', True, False),
        (b'{"error": {"message": "x"}}', False, False),
    ],
)
def test_error_inside_a_stream_is_seen(last: bytes, streamed: bool, failed: bool) -> None:  # noqa: FBT001  # parameters
    """The status had been sent as 200 by then; an answer that is no stream has a status of its own."""
    meter = Meter(streamed=streamed)
    meter.feed(last)
    meter.feed(DONE)
    assert meter.failed() is failed


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"usage": {"prompt_tokens": 3, "completion_tokens": 4}, "prompt_logprobs": None}, (3, 4)),
        ({"usage": {"prompt_tokens": 3, "total_tokens": 3}}, (3, 0)),
        ({"usage": {"prompt_tokens": 3, "completion_tokens": None}}, (3, 0)),
        ({"object": "error"}, (0, 0)),
    ],
)
def test_whole_answers_count(answer: dict[str, Any], expected: tuple[int, int]) -> None:
    """Chat, completions and embeddings say it in their body."""
    body = json.dumps(answer).encode()
    assert counted([body[:10], body[10:]], streamed=False) == expected
