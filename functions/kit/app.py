"""The frame of every function: one Starlette app with health, errors mapped once, bounded bodies and a request log.

`functions/<name>/app.py` hands its routing table to `build`; the functions framework, Knative and the tests all call
the resulting ASGI callable.
"""

import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions.kit import log, trace
from functions.kit.problem import BadRequest, MethodNotAllowed, NotFound, Problem, TooLarge, Unavailable

T = TypeVar("T")
Check = Callable[[], Awaitable[None]]

# Requests to the functions are small JSON documents and events under 64 KiB; files never pass through one.
MAX_BODY: Final = 1_048_576
_LOG = logging.getLogger("torpor.http")
_QUIET_PATHS: Final = frozenset({"/healthz", "/readyz"})
_BUG: Final = Problem("the function failed on an unexpected error; its log has the traceback")
_HTTP_PROBLEMS: Final = {404: NotFound, 405: MethodNotAllowed}


def build(routes: Sequence[BaseRoute], *, ready: Mapping[str, Check], max_body: int = MAX_BODY) -> Starlette:
    """The app: `routes` plus `/healthz` and `/readyz`.

    ready: what must answer before the function can work, by name; each check raises when it does not.
    max_body: bytes of a request body after which the caller gets 413.
    """
    log.configure()
    health = [Route("/healthz", _alive), Route("/readyz", _readiness(ready))]
    app = Starlette(
        routes=[*health, *routes],
        exception_handlers={Problem: _problem, HTTPException: _http_exception},
    )
    app.add_middleware(BoundedBody, limit=max_body)
    app.add_middleware(RequestLog)
    return app


def json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response of anything msgspec encodes: structs, dataclasses, mappings, datetimes."""
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


async def body(request: Request, kind: type[T]) -> T:
    """Decode the JSON body into `kind`. Raises BadRequest naming the field that is missing, unknown or of a wrong type."""
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the JSON body does not fit: {error}") from error


async def _alive(_: Request) -> Response:
    return json({"status": "alive"})


def _readiness(checks: Mapping[str, Check]) -> Callable[[Request], Awaitable[Response]]:
    async def ready(_: Request) -> Response:
        for name, check in checks.items():
            try:
                await check()
            except Problem as problem:
                raise Unavailable(f"{name} does not answer: {problem.detail}", failed=name) from problem
            except OSError as error:
                raise Unavailable(f"{name} does not answer: {error}", failed=name) from error
        return json({"status": "ready", "checked": list(checks)})

    return ready


def respond(problem: Problem) -> Response:
    """The problem as `application/problem+json`."""
    return Response(
        msgspec.json.encode(problem.body()), problem.status, problem.headers, media_type="application/problem+json"
    )


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101  # registered for Problem alone
    if error.status >= Problem.status:
        _LOG.warning("%s: %s", error.title, error.detail)
    return respond(error)


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for HTTPException alone
    kind = _HTTP_PROBLEMS.get(error.status_code, BadRequest)
    return respond(kind(f"{request.method} {request.scope['path']} is not a route of this function"))


class BoundedBody:
    """ASGI middleware: a body past `limit` bytes is answered 413, by its declared length or while it arrives."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body counted."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        problem = TooLarge(f"the body is larger than {self._limit} bytes")
        if _declared_length(scope) > self._limit:
            await respond(problem)(scope, receive, send)
            return
        await self._app(scope, self._counting(receive, problem), send)

    def _counting(self, receive: Receive, problem: Problem) -> Receive:
        seen = 0

        async def bounded() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise problem
            return message

        return bounded


def _declared_length(scope: Scope) -> int:
    values = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(values[0]) if values and values[0].isdigit() else 0


class RequestLog:
    """ASGI middleware: gives every request an id and a span, keeps both in the log's context and logs the outcome.

    A bug ends here: the caller gets a 500 that says nothing of its inside, the log gets the traceback.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; health checks are not worth a line."""
        if scope["type"] != "http" or scope["path"] in _QUIET_PATHS:
            await self._app(scope, receive, send)
            return
        log.request_id.set(_request_id(scope))
        # The framework's own, which takes every path; ours is set by our table.
        scope.pop("route", None)
        with trace.span(scope["method"], _kind(scope), trace.carried(scope["headers"])) as span:
            await self._traced(scope, receive, send, span)

    async def _traced(self, scope: Scope, receive: Receive, send: Send, span: trace.Span) -> None:
        started = time.monotonic()
        status = 0

        async def watching(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watching)
        except Exception:  # noqa: BLE001  # the last frame before the server: a bug must still be answered and logged
            _LOG.exception("a request failed on an unexpected error")
            if not status:
                await respond(_BUG)(scope, receive, watching)
        finally:
            _describe(span, scope, status)
            _log_request(scope, status, time.monotonic() - started)


def _kind(scope: Scope) -> trace.Kind:
    """An event's delivery, or somebody's call."""
    delivery = any(name == b"ce-type" for name, _ in scope["headers"])
    return trace.Kind.CONSUMER if delivery else trace.Kind.SERVER


def _describe(span: trace.Span, scope: Scope, status: int) -> None:
    """Name and attributes of OpenTelemetry's conventions for HTTP; the bus has named the span of an event."""
    route = getattr(scope.get("route"), "path", "")
    if span.name == scope["method"] and route:
        span.name = f"{scope['method']} {route}"
    span.attributes |= {"http.request.method": scope["method"], "url.path": scope["path"], "http.route": route}
    span.attributes |= {"http.response.status_code": status, "torpor.request_id": log.request_id.get()}
    if status >= Problem.status:
        span.failure = str(status)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and value.isascii() and len(value) <= len(uuid.uuid4().hex) * 2:
            return str(value.decode())
    return uuid.uuid4().hex


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    fields: dict[str, Any] = {
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "milliseconds": round(seconds * 1000, 1),
    }
    _LOG.info("%s %s", scope["method"], scope["path"], extra=fields)
