"""What clients of OpenAI's API may rely on, whichever engine answers."""

import json
from typing import Any

import httpx
import pytest

from tests.conformance.engines import MODEL, SERVER, Engine

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def chat(engine: Engine, **wish: Any) -> httpx.Response:
    """Ask for a chat completion."""
    with engine.client() as client:
        return client.post("/v1/chat/completions", json={"model": SERVER, "messages": QUESTION, **wish})


def chunks(body: str) -> list[dict[str, Any]]:
    """The JSON chunks of a stream."""
    return [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]


def test_health_needs_no_credential(engine: Engine) -> None:
    """A probe asks /health without a token."""
    with engine.client("") as client:
        assert client.get("/health").status_code == 200


def test_models_lists_both_names(engine: Engine) -> None:
    """Clients may use the server's name or the model's."""
    with engine.client() as client:
        listed = client.get("/v1/models").json()["data"]
    assert {entry["id"] for entry in listed} == {SERVER, MODEL}


@pytest.mark.parametrize("name", [SERVER, MODEL])
def test_chat_answers_under_either_name(engine: Engine, name: str) -> None:
    """A chat completion has an assistant's message and counts what it used."""
    answer = chat(engine, model=name, max_tokens=4, temperature=0).json()
    message, usage = answer["choices"][0]["message"], answer["usage"]
    assert (answer["object"], message["role"], bool(message["content"])) == ("chat.completion", "assistant", True)
    assert (usage["prompt_tokens"] > 0, usage["completion_tokens"]) == (True, 4)


def test_stream_ends_with_usage_and_done(engine: Engine) -> None:
    """A stream is made of chunks, ends with [DONE], and its last chunk counts, also when nobody asked for that."""
    answer = chat(engine, stream=True, max_tokens=4, temperature=0)
    last = chunks(answer.text)[-1]
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.rstrip().endswith("data: [DONE]")
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 4)


def test_every_chunk_says_how_much_so_far(engine: Engine) -> None:
    """Who leaves a stream early has been told what they used: the edge counts on it."""
    counted = [chunk["usage"]["completion_tokens"] for chunk in chunks(chat(engine, stream=True, max_tokens=6).text)]
    assert counted == sorted(counted)
    assert counted[-1] == 6


def test_several_choices_are_summed(engine: Engine) -> None:
    """`n` answers use n times the tokens, and usage says so."""
    answer = chat(engine, n=2, max_tokens=3, temperature=1).json()
    assert (len(answer["choices"]), answer["usage"]["completion_tokens"]) == (2, 6)


def test_completions_answer(engine: Engine) -> None:
    """The older completions route works too."""
    with engine.client() as client:
        answer = client.post("/v1/completions", json={"model": SERVER, "prompt": "Once upon a", "max_tokens": 3}).json()
    assert (answer["object"], answer["usage"]["completion_tokens"]) == ("text_completion", 3)
    assert answer["choices"][0]["text"]


def test_unknown_model_is_404(engine: Engine) -> None:
    """A model that is not served here does not exist, in OpenAI's error shape."""
    answer = chat(engine, model="gpt-17")
    assert (answer.status_code, "gpt-17" in answer.json()["error"]["message"]) == (404, True)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"model": NaN}', b"[" * 100_000])
def test_bad_json_is_400(engine: Engine, body: bytes) -> None:
    """What is no JSON object is the client's mistake."""
    with engine.client() as client:
        answer = client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_missing_messages_are_400(engine: Engine) -> None:
    """The engine's own validation comes through."""
    with engine.client() as client:
        answer = client.post("/v1/chat/completions", json={"model": SERVER})
    assert (answer.status_code, "error" in answer.json()) == (400, True)


def test_answer_carries_its_request_id(engine: Engine) -> None:
    """The id in the header is the one that usage is booked under, and it is in the answer's id."""
    answer = chat(engine, max_tokens=1)
    assert answer.headers["x-request-id"] in answer.json()["id"]
