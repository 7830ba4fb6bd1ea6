"""The edge over any app: what it hides, when it refuses, what it books; long because every way to answer is an app."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from functions.kit.events import UsageRecord
from functions.kit.identity import Identity
from functions.kit.problem import Retry, Unauthorized
from functions.serve.engine.middleware import Deps, Middleware
from tests.unit.log_lines import log_lines

ADA = Identity("ada", "user", ("*",), ("infer",), 0.0, "k1")
CHUNK = b'data: {"choices": [{"index": 0}], "usage": {"prompt_tokens": 2, "completion_tokens": 1}}\n\n'


class Gate:
    """A verifier that knows one word, or fails as auth does."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure

    async def identify(self, authorization: str | None) -> Identity:
        """Let `Bearer ok` in."""
        if self.failure is not None:
            raise self.failure
        if authorization != "Bearer ok":
            raise Unauthorized("no")
        return ADA


class Book:
    """A ledger that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[UsageRecord] = []
        self.closed_within: float | None = None

    def record(self, record: UsageRecord) -> None:
        """Keep it."""
        self.records.append(record)

    async def close(self, within_s: float) -> None:
        """Note the time that it was given."""
        self.closed_within = within_s


async def echo(request: Request) -> Response:
    """Say what the engine would see."""
    body = await request.body()
    seen = {"headers": dict(request.headers), "path": request.url.path, "body": body.decode()}
    return JSONResponse({**seen, "usage": {"prompt_tokens": 1, "completion_tokens": 2}})


async def fail(_: Request) -> Response:
    """Refuse, as the engine does with a request that it cannot take."""
    return JSONResponse({"error": {}}, 400)


async def stumble(_: Request) -> Response:
    """Fail for reasons of its own, as an engine that has lost its worker does."""
    return JSONResponse({"error": {}}, 500)


async def crash(_: Request) -> Response:
    """A bug."""
    raise RuntimeError("no answer at all")


async def torn(_: Request) -> Response:
    """A stream that fails after its status was sent."""

    async def chunks() -> Any:
        yield CHUNK
        yield b'data: {"error": {"message": "x"}}\n\ndata: [DONE]\n\n'

    return StreamingResponse(chunks(), media_type="text/event-stream")


async def endless(_: Request) -> Response:
    """A stream without an end."""

    async def chunks() -> Any:
        while True:
            yield CHUNK
            await asyncio.sleep(0)

    return StreamingResponse(chunks(), media_type="text/event-stream")


def edge(book: Book, failure: Exception | None = None, chat: Any = echo) -> Middleware:
    """The middleware around an app of three answers."""
    app = Starlette(
        routes=[
            Route("/health", echo),
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/completions", fail, methods=["POST"]),
            Route("/v1/embeddings", endless, methods=["POST"]),
        ]
    )
    deps = Deps(Gate(failure), book, ("s", "m"), 100, 2, 2, model_uuid="m-1", revision="s-00002")
    return Middleware(app, deps)


def client(app: Middleware, authorization: str = "Bearer ok") -> httpx.AsyncClient:
    """A client of it."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://engine", headers={"authorization": authorization}
    )


async def test_engine_sees_no_credential() -> None:
    """What the engine never gets it cannot log or obey; the body arrives whole."""
    async with client(edge(Book())) as caller:
        sent = await caller.post("/v1/chat/completions", content=b'{"n":1}', headers={"X-Torpor-Role": "admin"})
    seen = sent.json()
    assert {"authorization", "x-torpor-role"} & set(seen["headers"]) == set()
    assert (seen["body"], seen["headers"]["x-request-id"]) == ('{"n":1}', sent.headers["x-request-id"])


async def test_a_request_is_a_span_and_a_line_of_its_trace() -> None:
    """The caller's traceparent reaches the engine as it came, and our line says the same trace, and what was used."""
    traceparent = f"00-{'a' * 32}-{'1' * 16}-01"
    with log_lines("torpor.engine") as lines:
        async with client(edge(Book())) as caller:
            answer = await caller.post("/v1/chat/completions", json={"n": 1}, headers={"traceparent": traceparent})
    expected = {
        "trace_id": "a" * 32,
        "model_uuid": "m-1",
        "request_id": answer.headers["x-request-id"],
        "http.response.status_code": 200,
        "gen_ai.usage.input_tokens": 1,
        "gen_ai.usage.output_tokens": 2,
    }
    (line,) = lines
    assert traceparent == answer.json()["headers"]["traceparent"]
    assert expected == {name: line[name] for name in expected}


async def test_requests_without_a_trace_begin_one_each() -> None:
    """A refused one too; a health check is no line."""
    with log_lines("torpor.engine") as lines:
        async with client(edge(Book())) as caller:
            await caller.post("/v1/chat/completions", json={"n": 1})
            await caller.post("/v1/chat/completions", json={"n": 1}, headers={"authorization": "Bearer wrong"})
            await caller.get("/health")
    assert [200, 401] == [line["http.response.status_code"] for line in lines]
    assert 2 == len({line["trace_id"] for line in lines})


async def test_auth_that_does_not_answer_keeps_the_door_shut() -> None:
    """No verdict is no entry: 503 with the time to come back (A16)."""
    async with client(edge(Book(), Retry(2, "auth does not answer"))) as caller:
        answer = await caller.post("/v1/chat/completions", json={})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.json()["error"]["type"] == "server_error"


async def test_health_is_open_while_auth_is_down() -> None:
    """A probe does not depend on auth."""
    async with client(edge(Book(), Retry(2)), "") as caller:
        assert (await caller.get("/health")).status_code == 200


async def test_answer_is_booked_once() -> None:
    """Who, which key, which model, how much."""
    book = Book()
    async with client(edge(book)) as caller:
        await caller.post("/v1/chat/completions", json={})
    booked = [(r.subject, r.key_id, r.model_name, r.prompt_tokens, r.completion_tokens, r.status) for r in book.records]
    assert booked == [("ada", "k1", "m", 1, 2, 200)]


async def test_refused_requests_are_not_booked() -> None:
    """Neither ours nor the engine's refusals cost anything."""
    book = Book()
    async with client(edge(book)) as caller:
        await caller.post("/v1/completions", json={})
        await caller.post("/v1/chat/completions", content=b"x" * 101)
    assert book.records == []


@pytest.mark.parametrize(("chat", "tokens"), [(stumble, (0, 0)), (crash, (0, 0)), (torn, (2, 1))])
async def test_failures_of_the_engine_are_booked_as_errors(chat: Any, tokens: tuple[int, int]) -> None:
    """A rollout is judged by them; they cost what was sent, which is nothing unless a stream broke."""
    book = Book()
    transport = httpx.ASGITransport(edge(book, chat=chat), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as caller:
        await caller.post("/v1/chat/completions", json={}, headers={"authorization": "Bearer ok"})
    booked = [(r.status, r.revision, (r.prompt_tokens, r.completion_tokens)) for r in book.records]
    assert booked == [(500, "s-00002", tokens)]


async def test_what_an_engine_raises_is_booked_before_anybody_answers_it() -> None:
    """The handler of bugs in vLLM stands around the edge: here only the exception passes."""
    book = Book()

    async def app(*_: Any) -> None:
        raise RuntimeError("no answer at all")

    deps = Deps(Gate(), book, ("s", "m"), 100, 2, 2)
    transport = httpx.ASGITransport(Middleware(app, deps), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as caller:
        await caller.post("/v1/chat/completions", json={}, headers={"authorization": "Bearer ok"})
    assert [record.status for record in book.records] == [500]


@pytest.mark.parametrize(("chat", "timed"), [(echo, False), (torn, True)])
async def test_a_stream_says_when_it_began(chat: Any, timed: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """An answer in one piece has no first token that anybody saw."""
    book = Book()
    async with client(edge(book, chat=chat)) as caller:
        await caller.post("/v1/chat/completions", json={})
    (record,) = book.records
    assert (record.first_token_ms is not None) is timed
    assert 0 <= (record.first_token_ms or 0) <= record.duration_ms


async def test_reader_who_leaves_ends_the_engine_s_work() -> None:
    """The client's leaving reaches the engine (S12), and what was sent is booked."""
    book = Book()
    left = asyncio.Event()
    sent: list[MutableMapping[str, Any]] = []
    incoming = [{"type": "http.request", "body": b"{}", "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        if incoming:
            return incoming.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)
        if len(sent) > 3:
            left.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": "POST",
        "path": "/v1/embeddings",
        "raw_path": b"/v1/embeddings",
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer ok")],
    }
    async with asyncio.timeout(5):
        await edge(book)(scope, receive, send)
    assert [(record.status, record.streamed, record.completion_tokens) for record in book.records] == [(499, True, 1)]


@pytest.mark.parametrize("kind", ["complete", "failed"])
async def test_end_of_the_server_flushes_usage(kind: str) -> None:
    """The last usage leaves before the server says that it has shut down."""
    book = Book()
    said: list[tuple[str, float | None]] = []

    async def app(_: Any, __: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.complete"})
        await send({"type": f"lifespan.shutdown.{kind}"})

    async def send(message: MutableMapping[str, Any]) -> None:
        said.append((message["type"], book.closed_within))

    deps = Deps(Gate(), book, ("s", "m"), max_body_bytes=1, max_choices=1, max_inputs=1, flush_s=3)
    await Middleware(app, deps)({"type": "lifespan"}, lambda: asyncio.sleep(0, {}), send)
    assert said == [("lifespan.startup.complete", None), (f"lifespan.shutdown.{kind}", 3)]


async def heedless(request: Request) -> Response:
    """End a whole answer as vLLM does when its reader has left: with nothing, and 200."""
    await request.body()
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return JSONResponse(None)


async def test_a_whole_answer_that_nobody_waited_for_is_booked_as_cut_off() -> None:
    """499, as for a stream: the 200 that the engine then says was met by nobody."""
    book = Book()
    incoming: list[MutableMapping[str, Any]] = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": b"{}", "more_body": False},
    ]

    async def receive() -> MutableMapping[str, Any]:
        return incoming.pop()

    async def send(_: MutableMapping[str, Any]) -> None:
        """Into the void."""

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": "POST",
        "path": "/v1/chat/completions",
        "raw_path": b"/v1/chat/completions",
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer ok")],
    }
    async with asyncio.timeout(5):
        await edge(book, chat=heedless)(scope, receive, send)
    assert [(record.status, record.completion_tokens) for record in book.records] == [(499, 0)]
