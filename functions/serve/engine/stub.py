"""An engine that only pretends: the OpenAI routes of vLLM that we let through, answered with counted words.

`python -m functions.serve.engine.stub` takes the same settings and has the same edge as the real one, starts in well
under a second and needs no model. For tests, and for trying the platform where no model fits. It has to pass
tests/conformance like vLLM itself.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from functions.kit import log, trace
from functions.kit.settings import load, setting
from functions.serve.engine.edge import Edge
from functions.serve.engine.settings import EdgeSettings, ListenSettings

SENTENCE: Final = [
    "This",
    "is",
    "the",
    "stub",
    "engine",
    "of",
    "Torpor",
    "speaking",
    "instead",
    "of",
    "a",
    "model",
    "and",
    "it",
    "counts",
    "every",
    "word",
]
DEFAULT_TOKENS: Final = 16
_PERCENT: Final = 100
EMBEDDING: Final = (0.6, 0.8)


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the stub pretends to be a certain model.

    text: said instead of the sentence. fails_percent: so many of a hundred requests are answered with 500, spread evenly.
    delay_ms: before the first word. breaks: a stream ends with an error after its first word.
    """

    text: str = ""
    fails_percent: int = 0
    delay_ms: int = 0
    breaks: bool = False


@dataclass(frozen=True, kw_only=True)
class StubSettings(EdgeSettings, ListenSettings):
    """What the stub reads beside the settings of every engine."""

    token_delay_ms: int = setting(
        env="TORPOR_STUB_TOKEN_DELAY_MS", default=0, unit="ms", why="how long a word takes, to test slow streams"
    )
    behaviour: str = setting(
        env="TORPOR_STUB_BEHAVIOUR",
        default="{}",
        why="JSON, model name to `text`, `fails_percent`, `delay_ms`, `breaks`: what a good or a bad model would do",
    )

    @property
    def pretended(self) -> Behaviour:
        """What this model is to do. Raises msgspec.ValidationError for a behaviour that the stub does not have."""
        known = msgspec.json.decode(self.behaviour, type=dict[str, Behaviour])
        return known.get(self.model_name, Behaviour())


def build(settings: StubSettings) -> Starlette:
    """The routes, without the edge."""
    engine = Stub((settings.server_name, settings.model_name), settings.token_delay_ms / 1000, settings.pretended)
    return Starlette(
        routes=[
            Route("/health", engine.health, methods=["GET"]),
            Route("/v1/models", engine.models, methods=["GET"]),
            Route("/v1/chat/completions", engine.chat, methods=["POST"]),
            Route("/v1/completions", engine.completions, methods=["POST"]),
            Route("/v1/embeddings", engine.embeddings, methods=["POST"]),
        ]
    )


class Stub:
    """The routes' handlers. delay_s: seconds per word."""

    def __init__(self, names: tuple[str, str], delay_s: float, behaviour: Behaviour) -> None:
        self._names = names
        self._delay_s = delay_s
        self._behaviour = behaviour
        self._numbers = count(1)

    async def health(self, _: Request) -> Response:
        """Ready as soon as it listens."""
        return Response()

    async def models(self, _: Request) -> Response:
        """The server's name and the model's."""
        listed = [
            {"id": name, "object": "model", "created": 0, "owned_by": "torpor"} for name in _distinct(self._names)
        ]
        return JSONResponse({"object": "list", "data": listed})

    async def chat(self, request: Request) -> Response:
        """`chat.completion`, or its chunks."""
        wish = await request.json()
        messages = wish.get("messages")
        if not isinstance(messages, list) or not messages:
            return _error(400, "messages must be a list with at least one message")
        return await self._answer(request, wish, Shape("chat.completion", "chatcmpl-", "message", "delta"))

    async def completions(self, request: Request) -> Response:
        """`text_completion`, whole or in chunks."""
        wish = await request.json()
        if "prompt" not in wish:
            return _error(400, "prompt is missing")
        return await self._answer(request, wish, Shape("text_completion", "cmpl-", "text", "text"))

    async def embeddings(self, request: Request) -> Response:
        """One constant vector per text."""
        wish = await request.json()
        texts = wish.get("input")
        texts = texts if isinstance(texts, list) else [texts]
        data = [{"object": "embedding", "index": index, "embedding": EMBEDDING} for index in range(len(texts))]
        used = {"prompt_tokens": _words(texts), "total_tokens": _words(texts), "completion_tokens": 0}
        return JSONResponse({"object": "list", "data": data, "model": wish.get("model"), "usage": used})

    async def _answer(self, request: Request, wish: dict[str, Any], shape: "Shape") -> Response:
        if wish.get("model") not in self._names:
            return _error(404, f"The model `{wish.get('model')}` does not exist.", "NotFoundError")
        await asyncio.sleep(self._behaviour.delay_ms / 1000)
        if self._fails(next(self._numbers)):
            return _error(500, "The stub was told to fail.", "InternalServerError")
        answer = Answer(
            shape=shape,
            id=shape.id_prefix + request.headers.get("x-request-id", ""),
            model=wish["model"],
            prompt_tokens=_words(wish.get("messages", wish.get("prompt"))),
            words=self._words(wish.get("max_completion_tokens") or wish.get("max_tokens") or DEFAULT_TOKENS),
            choices=wish.get("n") or 1,
        )
        if wish.get("stream"):
            return StreamingResponse(self._stream(answer), media_type="text/event-stream")
        return JSONResponse(answer.whole() if await _heard(request, self._delay_s * len(answer.words)) else None)

    def _fails(self, number: int) -> bool:
        """Whether the count of failures grows with this request."""
        percent = self._behaviour.fails_percent
        return number * percent // _PERCENT > (number - 1) * percent // _PERCENT

    def _words(self, tokens: int) -> list[str]:
        said = self._behaviour.text
        return [f"{word} " for word in said.split()][:tokens] if said else _speech(tokens)

    async def _stream(self, answer: "Answer") -> AsyncIterator[str]:
        for spoken, word in enumerate(answer.words, start=1):
            if self._behaviour.breaks and spoken > 1:
                yield _event({"error": {"message": "The stub was told to break.", "code": 500}})
                yield "data: [DONE]\n\n"
                return
            await asyncio.sleep(self._delay_s)
            for index in range(answer.choices):
                yield _event(answer.chunk(index, word, spoken))
        yield _event(answer.total())
        yield "data: [DONE]\n\n"


async def _heard(request: Request, for_s: float) -> bool:
    """Speak for so long, or until the caller has hung up, as vLLM's routes do."""
    speaking, leaving = asyncio.create_task(asyncio.sleep(for_s)), asyncio.create_task(_left(request))
    done, pending = await asyncio.wait({speaking, leaving}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return speaking in done


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@dataclass(frozen=True)
class Shape:
    """What differs between chat and completions."""

    object: str
    id_prefix: str
    whole_key: str
    chunk_key: str


@dataclass(frozen=True)
class Answer:
    """One answer as it will be said."""

    shape: Shape
    id: str
    model: str
    prompt_tokens: int
    words: list[str]
    choices: int

    def whole(self) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        text = "".join(self.words)
        content = {"role": "assistant", "content": text} if self.shape.whole_key == "message" else text
        choice = {self.shape.whole_key: content, "logprobs": None, "finish_reason": "length"}
        choices = [{"index": index, **choice} for index in range(self.choices)]
        return {**self._head(self.shape.object), "choices": choices, "usage": self._usage(self.choices)}

    def chunk(self, index: int, word: str, spoken: int) -> dict[str, Any]:
        """One word of one choice, with the running totals that vLLM sends too."""
        content = {"role": "assistant", "content": word} if self.shape.chunk_key == "delta" else word
        finish = "length" if spoken == len(self.words) else None
        choice = {"index": index, self.shape.chunk_key: content, "logprobs": None, "finish_reason": finish}
        return {**self._head(self._chunk_object()), "choices": [choice], "usage": self._usage(1, spoken)}

    def total(self) -> dict[str, Any]:
        """The last chunk: no choices, the sum."""
        return {**self._head(self._chunk_object()), "choices": [], "usage": self._usage(self.choices)}

    def _chunk_object(self) -> str:
        return f"{self.shape.object}.chunk" if self.shape.chunk_key == "delta" else self.shape.object

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": 0, "model": self.model}

    def _usage(self, choices: int, spoken: int | None = None) -> dict[str, int]:
        completion = choices * (len(self.words) if spoken is None else spoken)
        total = self.prompt_tokens + completion
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": completion, "total_tokens": total}


def _distinct(names: tuple[str, str]) -> list[str]:
    return list(dict.fromkeys(names))


def _words(said: Any) -> int:
    """Words in whatever a prompt may be: texts, messages, tokens, or lists of them."""
    if isinstance(said, str):
        return len(said.split())
    if isinstance(said, list):
        return sum(_words(part) for part in said)
    if isinstance(said, dict):
        return _words(said.get("content", said.get("text", "")))
    return 1


def _speech(tokens: int) -> list[str]:
    return [f"{SENTENCE[index % len(SENTENCE)]} " for index in range(tokens)]


def _event(chunk: dict[str, Any]) -> str:
    return f"data: {json.dumps(chunk)}\n\n"


def _error(status: int, message: str, kind: str = "BadRequestError") -> Response:
    """An error in vLLM's shape."""
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": status}}, status)


def main() -> None:
    """Serve until SIGTERM; streams may finish."""
    import uvicorn

    log.configure()
    settings = load(StubSettings, os.environ)
    trace.export(os.environ, "engine", flush_on_signal=False)
    # uvicorn drains on SIGTERM and then sends it to itself again; to end in order is no failure.
    signal.signal(signal.SIGTERM, lambda *_: None)
    uvicorn.run(
        Edge(build(settings)),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=settings.drain_s,
    )


if __name__ == "__main__":
    main()
