"""auth's table of contents: its routes, and what they are built from."""

from collections.abc import Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.routing import Route

from functions.auth.callers import Callers
from functions.auth.key_routes import KeyRoutes
from functions.auth.keys import ApiKeys
from functions.auth.logins import Logins
from functions.auth.passwords import Passwords
from functions.auth.settings import Settings
from functions.auth.signing import SigningKeyError, SigningKeys
from functions.auth.token_routes import TokenRoutes
from functions.auth.tokens import Issuer, OwnKeys
from functions.auth.user_routes import UserRoutes
from functions.auth.users import Users
from functions.auth.verify import VerifyRoutes
from functions.kit import app
from functions.kit.db import Database
from functions.kit.identity import Verifier
from functions.kit.settings import SettingsError

# Requests here are a few hundred bytes; Kourier's ext_authz brings up to 8,192 of the caller's body.
MAX_BODY: Final = 65_536
# An ingress asks with its own GET or with the caller's method.
ANY_METHOD: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def routes(tokens: TokenRoutes, verify: VerifyRoutes, keys: KeyRoutes, users: UserRoutes) -> Sequence[Route]:
    """Every route of the function."""
    return [
        Route("/auth/token", tokens.token, methods=["POST"]),
        Route("/auth/jwks.json", tokens.jwks),
        Route("/.well-known/jwks.json", tokens.jwks),
        Route("/auth/verify", verify.exact, methods=ANY_METHOD),
        Route("/auth/verify/{path:path}", verify.prefixed, methods=ANY_METHOD),
        Route("/auth/keys", keys.create, methods=["POST"]),
        Route("/auth/keys", keys.index),
        Route("/auth/keys/{key_id}", keys.revoke, methods=["DELETE"]),
        Route("/auth/users", users.create, methods=["POST"]),
        Route("/auth/users", users.index),
        Route("/auth/users/{username}", users.show),
        Route("/auth/users/{username}", users.change, methods=["PATCH"]),
        Route("/auth/users/{username}", users.delete, methods=["DELETE"]),
    ]


def build(settings: Settings, db: Database | None = None) -> Starlette:
    """The app. Raises SettingsError, naming the variable, for keys that cannot be used."""
    db = db or Database(settings.database_url)
    signing, own_keys = _keys(settings)
    api_keys, passwords = ApiKeys(db), Passwords()
    verifier = Verifier(own_keys, api_keys)
    callers = Callers(verifier, db)
    table = routes(
        TokenRoutes(Logins(db, passwords), api_keys, signing, Issuer(signing)),
        VerifyRoutes(verifier),
        KeyRoutes(api_keys, callers),
        UserRoutes(Users(db, passwords), callers),
    )
    return app.build(table, ready={"PostgreSQL": db.ping, "signing keys": signing.check}, max_body=MAX_BODY)


def _keys(settings: Settings) -> tuple[SigningKeys, OwnKeys]:
    try:
        signing = SigningKeys(settings.signing_keys)
    except SigningKeyError as error:
        raise SettingsError(f"TORPOR_SIGNING_KEYS: {error}") from error
    try:
        return signing, OwnKeys(signing, settings.hs256_secret)
    except SigningKeyError as error:
        raise SettingsError(f"TORPOR_HS256_SECRET: {error}") from error
