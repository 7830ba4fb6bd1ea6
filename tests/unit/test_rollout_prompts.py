"""The golden prompt: how it is asked, and which answers prove a candidate."""

import msgspec
import pytest

from functions.serve.rollout import prompts
from functions.serve.rollout.prompts import judge


def _chat(text: object) -> bytes:
    return msgspec.json.encode({"choices": [{"message": {"role": "assistant", "content": text}}]})


@pytest.mark.parametrize(
    ("status", "body", "expect", "ok"),
    [
        pytest.param(200, _chat("It is Paris."), "paris", True, id="what was expected, in any case"),
        pytest.param(200, _chat("It is Rome."), "paris", False, id="something else"),
        pytest.param(200, _chat("anything"), "", True, id="nothing in particular was expected"),
        pytest.param(200, _chat(""), "", False, id="empty"),
        pytest.param(200, _chat(None), "", False, id="no content"),
        pytest.param(200, _chat("!!!!!!!!!!!!"), "", False, id="broken numbers"),
        pytest.param(200, b'{"choices": [{"text": " Paris"}]}', "Paris", True, id="a completion"),
        pytest.param(200, b'{"data": [{"embedding": [0.1, -0.2]}]}', "", True, id="a vector"),
        pytest.param(200, b'{"data": [{"embedding": [0, 0]}]}', "", False, id="a zero vector"),
        pytest.param(200, b'{"data": [{"embedding": []}]}', "", False, id="an empty vector"),
        pytest.param(200, b'{"choices": []}', "", False, id="no choice"),
        pytest.param(200, b"<html>", "", False, id="no JSON"),
        pytest.param(200, b"[]", "", False, id="a list"),
        pytest.param(200, b"\xff", "", False, id="no text"),
        pytest.param(500, b"oops", "", False, id="an error"),
        pytest.param(404, b"{}", "", False, id="the model has another name"),
        pytest.param(503, b"", "", None, id="it is being woken"),
        pytest.param(429, b"", "", None, id="it is full"),
    ],
)
def test_answers(status: int, body: bytes, expect: str, *, ok: bool | None) -> None:
    """By table; None is no answer yet."""
    assert judge(status, body, expect).ok is ok


def test_the_ways_to_ask() -> None:
    """Only paths that the runtime lets through, a chat first; under the server's name."""
    asked = prompts.questions(("/v1/completions", "/v1/chat/completions"), "smol", "Hello?")
    assert [question.path for question in asked] == ["/v1/chat/completions", "/v1/completions"]
    body = msgspec.json.decode(asked[0].body)
    assert (body["model"], body["messages"][0]["content"], body["temperature"]) == ("smol", "Hello?", 0)
    (vector,) = prompts.questions(("/v1/embeddings",), "smol", "Hello?")
    assert msgspec.json.decode(vector.body) == {"model": "smol", "input": "Hello?"}


def test_a_model_without_a_chat_template_is_asked_otherwise() -> None:
    """400 is no judgement of the model."""
    assert [prompts.understood(status) for status in (400, 200, 500)] == [False, True, True]
