"""Who is calling: bearer tokens and API keys, verified inside every function and engine from cached keys.

Nothing trusts a header that a client could have sent: only a signature or a key's digest decides.
`Verifier` takes its two sources as arguments. The auth function gives it its own keys and rows; everybody else uses
`remote`, which reads auth's JWKS and asks auth about API keys, both cached.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from functions.kit import apikey
from functions.kit.problem import Forbidden, Unauthorized

ISSUER: Final = "torpor"
AUDIENCE: Final = "torpor"
# RFC 9068: says that this is an access token, so that no other kind can stand in for one.
TOKEN_TYPE: Final = "at+jwt"  # noqa: S105  # a media type
# The life of a token at most, whatever it claims; also how long a demoted user's last token lives.
MAX_TOKEN_LIFE_S: Final = 3600
# Clocks of one cluster differ by less.
LEEWAY_S: Final = 5
# A token is a few hundred bytes; more is somebody's experiment.
MAX_CREDENTIAL_BYTES: Final = 8192
# Verdicts kept per process, about 300 bytes each.
CACHE_SIZE: Final = 4096
# A verdict outlives its signing key by this at most, so that a withdrawn key is soon worth nothing.
VERDICT_TTL_S: Final = 600.0

# To call in somebody's name: what is used counts for that person.
DELEGATE: Final = "delegate"
SERVICE: Final = "service"
ACTIONS_OF_ROLE: Final[Mapping[str, tuple[str, ...]]] = {
    "user": ("infer", "read"),
    "operator": ("infer", "read", "operate"),
    "admin": ("infer", "read", "operate", "admin"),
    # Functions of ours that call others; given by the setup Job alone, to nobody whom people make.
    SERVICE: ("infer", DELEGATE),
}
_REQUIRED_CLAIMS: Final = ("exp", "iat", "sub", "jti", "role", "aud", "iss")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls and what they may do. models: names, or `*` for all. expires_at: seconds since the epoch."""

    subject: str
    role: str
    models: tuple[str, ...]
    actions: tuple[str, ...]
    expires_at: float
    key_id: str | None = None

    def require(self, action: str) -> None:
        """Raise Forbidden unless `action` (infer, read, operate, admin) is allowed."""
        if action not in self.actions:
            raise Forbidden(f"{self.subject} may not {action}; ask an administrator for a role or a key that may")

    def allows_model(self, name: str) -> bool:
        """Whether the credential covers the model of this name."""
        return "*" in self.models or name in self.models


class KeySource(Protocol):
    """Public keys by key id, as PyJWK objects."""

    async def key(self, kid: str) -> Any | None:
        """The key, or None when no valid key has this id. Raises Retry when that cannot be known now."""


class ApiKeySource(Protocol):
    """What an API key stands for."""

    async def identity(self, key: str) -> Identity | None:
        """Its identity, or None for one that is unknown, revoked or expired. Raises Retry when unknowable now."""


class Verifier:
    """Turns an Authorization header into an Identity, or raises Unauthorized."""

    def __init__(self, keys: KeySource, api_keys: ApiKeySource, *, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._api_keys = api_keys
        self._clock = clock
        self._verdicts: dict[bytes, tuple[float, Identity]] = {}

    async def identify(self, authorization: str | None) -> Identity:
        """Verify `Bearer <jwt | api key>` or `APIKEY <api key>`.

        Raises Unauthorized with one and the same sentence for whatever is wrong with a credential.
        """
        scheme, credential = _split(authorization)
        if apikey.looks_like_one(credential):
            return await self._by_api_key(credential)
        if scheme != "bearer":
            raise Unauthorized("the API key is not well formed; copy it again, or create a new one")
        return await self._by_token(credential)

    async def _by_api_key(self, key: str) -> Identity:
        if not apikey.well_formed(key):
            raise Unauthorized("the API key is not well formed; copy it again, or create a new one")
        identity = await self._api_keys.identity(key)
        if identity is None:
            raise Unauthorized("the API key is unknown, revoked or expired; create a new one")
        return identity

    async def _by_token(self, token: str) -> Identity:
        digest = hashlib.sha256(token.encode()).digest()
        known = self._verdicts.get(digest)
        now = self._clock()
        if known is not None and now < known[0]:
            return known[1]
        identity = await self._verify(token)
        self._remember(digest, identity)
        return identity

    def _remember(self, digest: bytes, identity: Identity) -> None:
        if len(self._verdicts) >= CACHE_SIZE:
            self._verdicts.pop(next(iter(self._verdicts)))
        self._verdicts[digest] = (min(identity.expires_at, self._clock() + VERDICT_TTL_S), identity)

    async def _verify(self, token: str) -> Identity:
        import jwt

        refusal = Unauthorized("the token is not valid or has expired; log in again")
        try:
            header = jwt.get_unverified_header(token)
            key = await self._key_for(header)
            if key is None:
                raise refusal
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm_name],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=LEEWAY_S,
                options={"require": list(_REQUIRED_CLAIMS)},
            )
            # Inside the try: a role that is a list, or models that are a number, are a TypeError.
            return _identity(claims, self._clock(), refusal)
        except (jwt.PyJWTError, ValueError, OverflowError, TypeError, RecursionError) as error:
            raise refusal from error

    async def _key_for(self, header: Mapping[str, Any]) -> Any | None:
        kid, kind = header.get("kid"), header.get("typ")
        if kind != TOKEN_TYPE or not isinstance(kid, str) or not kid.isascii() or len(kid) > _MAX_KID:
            return None
        key = await self._keys.key(kid)
        # One key, one algorithm: the header's claim of another is a forgery, not a choice.
        return key if key is not None and key.algorithm_name == header.get("alg") else None


_MAX_KID: Final = 64


def _split(authorization: str | None) -> tuple[str, str]:
    if not authorization:
        raise Unauthorized("send a token or an API key in the Authorization header: Bearer <token>")
    scheme, _, credential = authorization.strip().partition(" ")
    credential = credential.strip()
    usable = credential and credential.isascii() and len(credential) <= MAX_CREDENTIAL_BYTES
    if scheme.lower() not in {"bearer", "apikey"} or not usable:
        raise Unauthorized("the Authorization header is neither 'Bearer <token>' nor 'APIKEY <key>'")
    return scheme.lower(), credential


def _identity(claims: Mapping[str, Any], now: float, refusal: Unauthorized) -> Identity:
    """Claims that PyJWT accepts and we do not: other types, a life beyond the maximum, a role that we never gave."""
    subject, role, expires, issued = claims["sub"], claims["role"], claims["exp"], claims["iat"]
    numbers = all(type(value) is int for value in (expires, issued))
    named = isinstance(subject, str) and subject.isprintable() and role in ACTIONS_OF_ROLE
    if not numbers or not named or expires - issued > MAX_TOKEN_LIFE_S or expires > now + MAX_TOKEN_LIFE_S + LEEWAY_S:
        raise refusal
    models = tuple(map(str, claims.get("models", ("*",))))
    actions = tuple(
        action for action in ACTIONS_OF_ROLE[role] if action in claims.get("actions", ACTIONS_OF_ROLE[role])
    )
    key_id = claims.get("key_id")
    return Identity(subject, role, models, actions, float(expires), key_id if isinstance(key_id, str) else None)
