"""The edge inside the engine: who calls, what passes, what it used. A pure ASGI class around any OpenAI-shaped app.

vLLM runs it in its own API process (`--middleware`), the stub around its own routes; both pass the same conformance
tests. An inference request costs no hop and no round trip here: keys are cached and the stream's bytes pass untouched.
"""

import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from functions.kit import log, trace
from functions.kit.events import UsageRecord
from functions.kit.identity import Identity
from functions.kit.problem import Forbidden, Problem
from functions.serve.engine import delegation, routes
from functions.serve.engine.call import Call, Message, Send
from functions.serve.engine.routes import Refusal, Route

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOG = logging.getLogger("torpor.engine")


class Verifies(Protocol):
    """Turns an Authorization header into an identity, or raises Unauthorized."""

    async def identify(self, authorization: str | None) -> Identity:
        """See kit.identity.Verifier."""


class Records(Protocol):
    """Takes usage records. Must return at once."""

    def record(self, record: UsageRecord) -> None:
        """See usage.Ledger."""

    async def close(self, within_s: float) -> None:
        """See usage.Ledger."""


@dataclass(frozen=True, slots=True)
class Deps:
    """What the middleware works with. names: the server's and the model's; either one in a key's models will do."""

    verifier: Verifies
    ledger: Records
    names: tuple[str, str]
    max_body_bytes: int
    max_choices: int
    max_inputs: int
    # Time for the last usage to reach its sink after the last stream has ended.
    flush_s: float = 5.0
    ready: Callable[[], None] = lambda: None
    routes: Mapping[bytes, Route] = field(default_factory=lambda: routes.ROUTES)
    model_uuid: str = ""
    revision: str = ""


class Middleware:
    """ASGI around `app`."""

    def __init__(self, app: App, deps: Deps) -> None:
        self._app = app
        self._deps = deps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection: HTTP through the table of routes, the lifespan with a flush at its end."""
        if scope["type"] == "lifespan":
            return await self._lifespan(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        try:
            route = routes.decide(scope["method"], _raw_path(scope), self._deps.routes)
        except Refusal as refusal:
            return await _answer(refusal, send)
        if not route.needs_identity:
            return await self._app(_inner(scope, uuid.uuid4().hex), receive, send)
        return await self._traced(scope, receive, send, generates=route.generates)

    async def _traced(self, scope: Scope, receive: Receive, send: Send, *, generates: bool) -> None:
        """One request as a span of its caller's trace, and as a log line. The engine gets the caller's header untouched."""
        what, started = f"{scope['method']} {scope['path']}", time.monotonic()
        log.request_id.set(uuid.uuid4().hex)
        log.model_uuid.set(self._deps.model_uuid)
        with trace.span(what, trace.Kind.SERVER, trace.carried(scope["headers"])) as span:
            try:
                await (self._generate if generates else self._ask)(scope, receive, send, span)
            except Refusal as refusal:
                span.attributes["http.response.status_code"] = refusal.status
                await _answer(refusal, send)
            finally:
                span.attributes["torpor.request_id"] = log.request_id.get()
                milliseconds = round((time.monotonic() - started) * 1000, 1)
                _LOG.info(what, extra={"milliseconds": milliseconds, **span.attributes})

    async def _ask(self, scope: Scope, receive: Receive, send: Send, span: trace.Span) -> None:
        """A route that costs no tokens."""

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.attributes["http.response.status_code"] = message["status"]
            await send(message)

        await self._caller(scope)
        await self._app(_inner(scope, log.request_id.get()), receive, watched)

    async def _caller(self, scope: Scope) -> Identity:
        try:
            caller = await self._deps.verifier.identify(routes.authorization(scope["headers"]))
            caller.require("infer")
            if not any(caller.allows_model(name) for name in self._deps.names):
                raise Forbidden(f"this credential does not cover the model {self._deps.names[1]}")
        except Problem as problem:
            raise _refusal(problem) from problem
        return delegation.on_behalf(caller, scope["headers"])

    async def _generate(self, scope: Scope, receive: Receive, send: Send, span: trace.Span) -> None:
        caller = await self._caller(scope)
        body = await _body(receive, self._deps.max_body_bytes)
        choices = routes.check_body(body, self._deps.max_choices, self._deps.max_inputs)
        call = Call(log.request_id.get(), caller, self._deps.names[1], choices, self._deps.revision)
        try:
            await self._app(_inner(scope, call.request_id), _replay(body, receive, call.leave), call.watch(send))
        except Exception:
            call.fail()
            raise
        finally:
            record = call.record()
            span.attributes |= _described(record)
            if call.worth_recording:
                self._deps.ledger.record(record)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watched(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._deps.ready()
            if message["type"].startswith("lifespan.shutdown"):
                await self._deps.ledger.close(self._deps.flush_s)
            await send(message)

        await self._app(scope, receive, watched)


def _described(record: UsageRecord) -> dict[str, str | int]:
    """The attributes of OpenTelemetry's conventions for HTTP and for generative models."""
    return {
        "http.response.status_code": record.status,
        "gen_ai.request.model": record.model_name,
        "gen_ai.usage.input_tokens": record.prompt_tokens,
        "gen_ai.usage.output_tokens": record.completion_tokens,
    }


def _raw_path(scope: Scope) -> bytes:
    """The path as it came over the wire. A server that gives none gives a decoded one, which we take only as ASCII."""
    raw: bytes | None = scope.get("raw_path")
    return raw if raw is not None else scope["path"].encode()


def _inner(scope: Scope, request_id: str) -> Scope:
    """The scope that the engine sees: its path is the one that was decided on, its headers those that may pass."""
    raw_path = _raw_path(scope)
    headers = routes.passed(scope["headers"], request_id)
    return {**scope, "path": raw_path.decode("ascii"), "raw_path": raw_path, "root_path": "", "headers": headers}


async def _body(receive: Receive, limit: int) -> bytes:
    """The request's body, bounded while it arrives: a Content-Length is only a promise."""
    too_large = Refusal(413, f"a request may have {limit} bytes", "request_too_large")
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "the client left before its request was complete", "incomplete_request")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise too_large
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive, leave: Callable[[], None]) -> Receive:
    """A `receive` that gives the body once and then what really comes: the client's leaving, which aborts the engine."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            message = await receive()
            if message["type"] == "http.disconnect":
                leave()
            return message
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _refusal(problem: Problem) -> Refusal:
    code = "invalid_api_key" if problem.status == 401 else problem.slug.replace("-", "_")  # noqa: PLR2004  # HTTP
    return Refusal(problem.status, problem.detail or problem.title, code, problem.headers)


async def _answer(refusal: Refusal, send: Send) -> None:
    body = refusal.body()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    if refusal.status == 413:  # noqa: PLR2004  # HTTP
        # The rest of the body is still on its way; it is not read, so the connection cannot be used again.
        raw.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
