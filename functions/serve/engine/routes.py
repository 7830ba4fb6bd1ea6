"""What passes into the engine: the table of routes, the headers that go through, and refusals in OpenAI's shape. Pure.

Decided on the raw path alone, byte for byte: no decoding, no normalising, no Host header, so that no spelling of a
path means one thing here and another in the engine's router (reliability A15, S9).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec

from functions.kit import openai

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Route:
    """method: the one that is taken. generates: it costs tokens, so its body is bounded and its usage counted."""

    method: str
    needs_identity: bool = True
    generates: bool = False


ROUTES: Final[Mapping[bytes, Route]] = {
    b"/health": Route("GET", needs_identity=False),
    b"/v1/models": Route("GET"),
    b"/v1/chat/completions": Route("POST", generates=True),
    b"/v1/completions": Route("POST", generates=True),
    b"/v1/embeddings": Route("POST", generates=True),
}

# What every engine answers, whatever its model is for.
_ALWAYS: Final = frozenset({b"/health", b"/v1/models"})

# Everything else is dropped: credentials, identity headers in any spelling (A14), and what vLLM would obey
# (X-data-parallel-rank, its session and priority headers, X-Request-Id of a client's choosing).
_PASSED: Final = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"connection",
        b"content-length",
        b"content-type",
        b"host",
        b"traceparent",
        b"tracestate",
        b"transfer-encoding",
        b"user-agent",
    }
)


class Refusal(Exception):
    """An answer given before the engine saw the request, in OpenAI's error shape."""

    def __init__(self, status: int, message: str, code: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """The JSON document."""
        return openai.error(self.status, str(self), self.code)


def chosen(paths: str) -> Mapping[bytes, Route]:
    """The table of an engine that serves these paths: a JSON list; an empty text means all of ROUTES.

    A path that is not in ROUTES is what a runtime's file adds: posted to, bounded and counted like the others.
    """
    if not paths:
        return ROUTES
    listed = [path.encode() for path in msgspec.json.decode(paths, type=list[str])]
    return {path: ROUTES.get(path) or Route("POST", generates=True) for path in (*sorted(_ALWAYS), *listed)}


def decide(method: str, raw_path: bytes, table: Mapping[bytes, Route] = ROUTES) -> Route:
    """The route of a request. Raises Refusal 404 or 405."""
    route = table.get(raw_path)
    if route is None:
        raise Refusal(404, "there is nothing here; see /v1/models", "not_found")
    if method != route.method:
        raise Refusal(405, f"this route takes {route.method}", "method_not_allowed", {"Allow": route.method})
    return route


def passed(headers: Iterable[tuple[bytes, bytes]], request_id: str) -> RawHeaders:
    """The headers that the engine may see, and the id that it puts into its answer's `id`."""
    kept = [(name, value) for name, value in headers if name.lower() in _PASSED]
    return [*kept, (b"x-request-id", request_id.encode())]


def authorization(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The one Authorization header. Raises Refusal 401 for two: which one would be meant?"""
    found = [value for name, value in headers if name.lower() == b"authorization"]
    if len(found) > 1:
        raise Refusal(401, "send one Authorization header", "invalid_api_key")
    return found[0].decode("latin-1") if found else None


class _Multipliers(msgspec.Struct):
    """The fields of a request by which one call costs as much as many. Any: a wrong type must be seen, not skipped."""

    n: Any = None
    best_of: Any = None
    prompt: Any = None
    input: Any = None


_REQUEST: Final = msgspec.json.Decoder(_Multipliers)


def check_body(body: bytes, max_choices: int, max_inputs: int) -> int:
    """How many texts the request asks for. Raises Refusal 400 for what is no JSON object or asks for too much.

    Numbers in quotes are refused: the engine's own parser would take `"n": "9999"` for a number.
    """
    try:
        request = _REQUEST.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"the body is not a JSON object: {error}", "invalid_json") from None
    for name, value in (("n", request.n), ("best_of", request.best_of)):
        if value is not None and type(value) is not int:
            raise Refusal(400, f"{name} must be a whole number", "invalid_value")
    choices = _batch(request.prompt) * max(request.n or 1, request.best_of or 1)
    if choices > max_choices:
        raise Refusal(400, f"one request may ask for {max_choices} texts, this one asks for {choices}", "invalid_value")
    if _batch(request.input) > max_inputs:
        raise Refusal(400, f"one request may embed {max_inputs} texts", "invalid_value")
    return choices


def _batch(value: Any) -> int:
    """How many texts a prompt is: a list of numbers is one text as tokens."""
    if not isinstance(value, list):
        return 1
    return sum(1 for entry in value if isinstance(entry, str | list)) or 1
