"""The frame of every function: health, problems, bounded bodies."""

from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from functions.kit import app
from functions.kit.problem import Conflict, Retry


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """A request body."""

    name: str
    count: int = 1


async def _order(request: Request) -> Response:
    return app.json(await app.body(request, Order), 202)


async def _conflict(_: Request) -> Response:
    raise Conflict("the record is being deleted", record="r1")


async def _retry(_: Request) -> Response:
    raise Retry(7, "the store is full")


async def _bug(_: Request) -> Response:
    raise KeyError("secret detail")


async def _fine() -> None:
    return None


async def _down() -> None:
    raise Retry(1, "no answer")


def _app(max_body: int = 100) -> Starlette:
    routes = [
        Route("/orders", _order, methods=["POST"]),
        Route("/conflict", _conflict),
        Route("/retry", _retry),
        Route("/bug", _bug),
    ]
    return app.build(routes, ready={"store": _fine}, max_body=max_body)


def _client(target: Starlette | None = None) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(target or _app())
    return httpx.AsyncClient(transport=transport, base_url="http://function")


async def test_a_function_is_alive_and_ready() -> None:
    """/healthz says alive; /readyz says what was checked."""
    async with _client() as client:
        assert (200, {"status": "alive"}) == _answer(await client.get("/healthz"))
        assert (200, {"status": "ready", "checked": ["store"]}) == _answer(await client.get("/readyz"))


async def test_readiness_names_what_is_down() -> None:
    """503 with the name of the dependency that does not answer."""
    async with _client(app.build([], ready={"store": _fine, "database": _down})) as client:
        status, document = _answer(await client.get("/readyz"))
    assert (503, "database") == (status, document["failed"])


async def test_a_problem_leaves_as_problem_json() -> None:
    """Title from the class, detail from the instance, members beside them (RFC 9457)."""
    async with _client() as client:
        response = await client.get("/conflict")
    expected = {
        "type": "urn:torpor:problem:conflict",
        "title": "The state of the record does not allow this",
        "status": 409,
        "detail": "the record is being deleted",
        "record": "r1",
    }
    assert "application/problem+json" == response.headers["content-type"]
    assert (409, expected) == _answer(response)


async def test_retry_says_when() -> None:
    """503 with Retry-After in whole seconds."""
    async with _client() as client:
        response = await client.get("/retry")
    assert (503, "7") == (response.status_code, response.headers["retry-after"])


async def test_a_bug_shows_nothing_of_its_inside() -> None:
    """500 as a problem; the traceback is the log's."""
    async with _client() as client:
        response = await client.get("/bug")
    assert 500 == response.status_code
    assert "secret detail" not in response.text


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/orders", 405)])
async def test_an_unknown_route_is_a_problem(method: str, path: str, status: int) -> None:
    """Starlette's own refusals have the same form."""
    async with _client() as client:
        response = await client.request(method, path)
    assert (status, "application/problem+json") == (response.status_code, response.headers["content-type"])


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b'{"name": "a", "colour": "red"}', "colour"),
        (b'{"count": 2}', "name"),
        (b'{"name": 3}', "name"),
        (b"{", "JSON"),
        (b"[" * 90, "JSON"),
    ],
)
async def test_a_body_that_does_not_fit_is_refused(content: bytes, named: str) -> None:
    """400 naming the field."""
    async with _client() as client:
        status, document = _answer(await client.post("/orders", content=content))
    assert 400 == status
    assert named in document["detail"]


async def test_a_large_body_is_refused_by_its_declared_length() -> None:
    """413 before a byte of it is read."""
    async with _client() as client:
        response = await client.post("/orders", content=b"x" * 101)
    assert 413 == response.status_code


async def test_a_large_body_is_refused_while_it_arrives() -> None:
    """A chunked body has no length to declare; it is counted."""

    async def chunks() -> object:
        for _ in range(11):
            yield b"0123456789"

    async with _client() as client:
        response = await client.post("/orders", content=chunks())  # type: ignore[arg-type]  # an async generator of bytes
    assert 413 == response.status_code


def _answer(response: httpx.Response) -> tuple[int, dict[str, Any]]:
    return response.status_code, response.json()
