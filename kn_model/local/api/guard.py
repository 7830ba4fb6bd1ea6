"""Lets callers in and turns refusals into what Kubernetes clients read. Called by `api/app.py`: middleware of every request."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from kn_model.local.api.errors import ApiError, BadRequest, Forbidden, MethodNotAllowed, Unauthorized
from kn_model.local.api.http import USER
from kn_model.local.objects.kinds import UnknownKind
from kn_model.local.objects.selectors import BadSelector

UserOf = Callable[[str], str | None]
"""Whose a bearer token is; None for nobody's."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

OPEN: Final = frozenset({"/healthz", "/livez", "/readyz"})
"""Paths that need no token."""
_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "[::1]", "kubernetes.default.svc"})


def guard(user_of: UserOf) -> Any:
    """Middleware: Host, token, and errors as metav1.Status."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            request[USER] = _caller(request, user_of)
            return await handler(request)
        except ApiError as error:
            return _status(error)
        except (BadSelector, UnknownKind) as error:
            return _status(BadRequest(str(error)))
        except web.HTTPMethodNotAllowed:
            return _status(MethodNotAllowed("the server does not allow this method on the requested resource"))

    return guarded


def _caller(request: web.Request, user_of: UserOf) -> str:
    """Who calls. Raises Forbidden for what a web page sends (DNS rebinding), Unauthorized for strangers."""
    name, _, port = request.host.rpartition(":")
    if (name if port.isdigit() else request.host) not in _HOSTS or "Origin" in request.headers:
        raise Forbidden("this API is not for web pages")
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    user = user_of(token) if scheme == "Bearer" else None
    if user is None and request.path not in OPEN:
        raise Unauthorized("Unauthorized")
    return user or ""


def _status(error: ApiError) -> web.Response:
    return web.json_response(error.status(), status=error.code)
