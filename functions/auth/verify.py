"""`/auth/verify`: an ingress asks whether a request may pass (Traefik ForwardAuth, Envoy and Kourier ext_authz, nginx).

The other functions and the engines ask it about API keys. The Authorization header alone decides: X-Forwarded-*,
Host and method are whatever a client sent. Every answer of 200 carries all identity headers, empty ones too, so that an
ingress which copies them overwrites what a client put there under the same name.
"""

from datetime import UTC, datetime
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from functions.auth.callers import authorization
from functions.kit.app import json
from functions.kit.identity import Identity, Verifier
from functions.kit.problem import Forbidden


class Verdict(msgspec.Struct):
    """The body of 200; `kit.remote` reads it."""

    subject: str
    role: str
    key_id: str | None
    models: tuple[str, ...]
    actions: tuple[str, ...]
    expires_at: datetime


class VerifyRoutes:
    """The endpoint, under an exact path and under a prefix."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    async def exact(self, request: Request) -> Response:
        """200 or 401; with `?action=` or `?model=`, which the ingress's operator wrote there, 403 when not allowed."""
        who = await self._verifier.identify(authorization(request))
        for action in request.query_params.getlist("action"):
            who.require(action)
        for model in request.query_params.getlist("model"):
            if not who.allows_model(model):
                raise Forbidden(f"{who.subject} may not use the model {model[:255]}")
        return _pass(who)

    async def prefixed(self, request: Request) -> Response:
        """200 or 401 for `/auth/verify/<the caller's path>?<the caller's query>`, as Kourier asks with a path prefix.

        The query is the caller's own here and means something else.
        """
        return _pass(await self._verifier.identify(authorization(request)))


def _pass(who: Identity) -> Response:
    expires = datetime.fromtimestamp(int(who.expires_at), UTC)
    verdict = Verdict(who.subject, who.role, who.key_id, who.models, who.actions, expires)
    return json(verdict, headers={**identity_headers(who), "Cache-Control": "no-store"})


def identity_headers(who: Identity) -> dict[str, str]:
    """The identity as header values; what a header cannot carry (only a foreign HS256 issuer could say it) is escaped."""
    return {
        "X-Torpor-Subject": quote(who.subject, safe="@+"),
        "X-Torpor-Role": who.role,
        "X-Torpor-Key-Id": quote(who.key_id or ""),
        "X-Torpor-Models": ",".join(quote(model, safe="*/:@") for model in who.models),
        "X-Torpor-Actions": ",".join(who.actions),
    }
