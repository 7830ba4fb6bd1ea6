"""`POST /auth/token` (JSON and OAuth2 form) and the public key set."""

import contextlib
from collections.abc import Iterator

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from functions.auth import forms
from functions.auth.keys import ApiKeys
from functions.auth.logins import Logins, WrongCredentials
from functions.auth.passwords import UnusablePassword
from functions.auth.signing import SigningKeys
from functions.auth.tokens import Issuer
from functions.kit import apikey
from functions.kit.app import body, json
from functions.kit.identity import Identity
from functions.kit.problem import Problem, TooManyRequests

# RFC 6749 section 5.1: an answer with a token is never cached.
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
# Less than the ten minutes that the functions keep a key set, so that a shared cache never makes a rotation slower.
JWKS_CACHE = {"Cache-Control": "public, max-age=300"}


class UnsupportedForm(Problem):
    """The content type is not one of this route's"""

    status = 415


class PasswordLogin(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /auth/token` as JSON."""

    username: str
    password: str


class TokenRoutes:
    """The endpoints that anybody may call."""

    def __init__(self, logins: Logins, api_keys: ApiKeys, keys: SigningKeys, issuer: Issuer) -> None:
        self._logins = logins
        self._api_keys = api_keys
        self._keys = keys
        self._issuer = issuer

    async def token(self, request: Request) -> Response:
        """A token for a password or an API key; errors of a form in OAuth2's shape, of JSON as a problem."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            login = await body(request, PasswordLogin)
            return self._answer(await self._logins.log_in(login.username, login.password))
        if kind == forms.CONTENT_TYPE:
            return await self._form(request)
        raise UnsupportedForm(f"send application/json or {forms.CONTENT_TYPE}")

    async def jwks(self, _: Request) -> Response:
        """The public keys."""
        return json(self._keys.public_jwks(), headers=JWKS_CACHE)

    async def _form(self, request: Request) -> Response:
        try:
            grant = forms.parse(await request.body(), request.headers.get("authorization"))
            with _as_oauth2():
                return self._answer(await self._grant(grant))
        except forms.OAuth2Error as refused:
            answer = {"error": refused.error, "error_description": refused.description}
            return json(answer, refused.status, {**refused.headers, **NO_STORE})

    async def _grant(self, grant: forms.PasswordGrant | forms.ClientCredentials) -> Identity:
        if isinstance(grant, forms.PasswordGrant):
            return await self._logins.log_in(grant.username, grant.password)
        key = grant.client_secret
        named = apikey.well_formed(key) and apikey.key_id(key) == grant.client_id
        identity = await self._api_keys.identity(key) if named else None
        if identity is None:
            raise forms.invalid_client()
        return identity

    def _answer(self, who: Identity) -> Response:
        return json(self._issuer.issue(who), headers=NO_STORE)


@contextlib.contextmanager
def _as_oauth2() -> Iterator[None]:
    """Turn what a log-in can raise into RFC 6749's codes; anything else stays a problem."""
    try:
        yield
    except WrongCredentials as problem:
        raise forms.OAuth2Error("invalid_grant", problem.detail) from problem
    except UnusablePassword as problem:
        raise forms.OAuth2Error("invalid_request", problem.detail) from problem
    except TooManyRequests as problem:
        # The RFC has no code for it at this endpoint; the status and Retry-After say what to do.
        raise forms.OAuth2Error(
            "temporarily_unavailable", problem.detail, status=problem.status, headers=problem.headers
        ) from problem
