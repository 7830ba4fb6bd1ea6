"""Talking to a model over the OpenAI API: one streamed answer at a time, waiting while the model wakes. Used by chat."""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypedDict
from urllib.parse import quote

import httpx

from kn_model.client import Client, failure
from kn_model.failure import Exit, Failure
from kn_model.waiting import Say, announced

_DATA: Final = "data:"
_DONE: Final = "[DONE]"
_LATER: Final = frozenset({429, 502, 503, 504})
_UNAUTHORIZED: Final = 401
_PAUSE_S: Final = 1.0


class Message(TypedDict):
    """One turn of a conversation. role: system, user or assistant."""

    role: str
    content: str


def path_of(server: str) -> str:
    """Where a server's OpenAI API is at the front door."""
    return f"/m/{quote(server, safe='')}/v1/chat/completions"


def answer(client: Client, body: dict[str, Any], *, timeout_s: float, say: Say) -> Iterator[str]:
    """The pieces of the model's answer as they arrive; body["model"] is the server's name.

    A sleeping model wakes on the call, which may be held or answered 503 meanwhile: the call is repeated until
    `timeout_s` seconds have passed, and `say` hears about it after three. Raises Failure.
    """
    server = str(body["model"])
    deadline = time.monotonic() + timeout_s
    with announced(f"{server} is waking", say) as awake:
        while True:
            left_s = max(1.0, deadline - time.monotonic())
            with client.stream(path_of(server), {**body, "stream": True}, left_s) as response:
                pause_s = _pause(client, response, deadline)
                if pause_s is None:
                    for piece in pieces(response.iter_lines()):
                        awake.set()
                        yield piece
                    return
            time.sleep(pause_s)


def _pause(client: Client, response: httpx.Response, deadline: float) -> float | None:
    """Seconds until the call is made again, None when the answer is there. Raises Failure for a final refusal."""
    if response.is_success:
        return None
    response.read()
    if response.status_code == _UNAUTHORIZED and client.refresh():
        return 0.0
    if response.status_code not in _LATER:
        raise failure(response)
    if time.monotonic() >= deadline:
        raise Failure("the model did not wake in time", why=failure(response).why, code=Exit.TIMED_OUT)
    asked = response.headers.get("retry-after", "")
    return min(float(asked) if asked.isdigit() else _PAUSE_S, max(0.0, deadline - time.monotonic()))


def pieces(lines: Iterator[str]) -> Iterator[str]:
    """The text in a stream of server-sent events. Raises Failure for an error in the stream, or when it is cut."""
    for line in lines:
        if not line.startswith(_DATA):
            continue
        data = line.removeprefix(_DATA).strip()
        if data == _DONE:
            return
        yield from _text(json.loads(data))
    raise Failure("the answer was cut", why="The stream ended without its end mark.", do="Ask again.")


def _text(chunk: Any) -> Iterator[str]:
    if "error" in chunk:
        raise Failure("the engine failed in the middle of the answer", why=str(chunk["error"].get("message", "")))
    for choice in chunk.get("choices", ()):
        if text := choice.get("delta", {}).get("content"):
            yield text


def body(server: str, messages: Sequence[Message], *, max_tokens: int, temperature: float) -> dict[str, Any]:
    """The request of POST /v1/chat/completions."""
    return {"model": server, "messages": list(messages), "max_tokens": max_tokens, "temperature": temperature}
