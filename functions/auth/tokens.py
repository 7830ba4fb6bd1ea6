"""Access tokens: who signs them, what they say, and auth's own key set as the verifier sees it.

A token lives an hour and nobody can take it back before: a deleted or demoted user's last token works until then,
except at auth's own routes, which ask the database (`callers`). API keys stop at once.
"""

import time
import uuid
from collections.abc import Callable
from typing import Any, Final

import msgspec

from functions.auth.signing import SigningKeyError, SigningKeys
from functions.kit.identity import AUDIENCE, ISSUER, MAX_TOKEN_LIFE_S, TOKEN_TYPE, Identity
from functions.kit.settings import Secret

# The `kid` of the shared secret: fixed, so that one key never has two algorithms.
HS256_KID: Final = "hs256"
# RFC 7518 section 3.2: at least the size of the hash.
HS256_MIN_BYTES: Final = 32


class AccessToken(msgspec.Struct, frozen=True):
    """What `/auth/token` answers (RFC 6749 section 5.1). expires_in: seconds."""

    access_token: str
    expires_in: int
    token_type: str = "Bearer"  # noqa: S105  # the scheme, not a secret


class Issuer:
    """Signs tokens with the first key."""

    def __init__(self, keys: SigningKeys, *, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._clock = clock

    def issue(self, who: Identity) -> AccessToken:
        """A token for `who`, that ends with `who.expires_at` at the latest (RFC 9068: typ at+jwt).

        One made from an API key carries the key's id, models and actions, and so can do no more than the key.
        """
        import jwt

        now = int(self._clock())
        expires = min(now + MAX_TOKEN_LIFE_S, int(who.expires_at))
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": who.subject,
            "role": who.role,
            "jti": uuid.uuid4().hex,
            "iat": now,
            "nbf": now,
            "exp": expires,
            **_scope(who),
        }
        header = {"typ": TOKEN_TYPE, "kid": self._keys.kids[0]}
        return AccessToken(jwt.encode(claims, self._keys.first(), algorithm="EdDSA", headers=header), expires - now)


class OwnKeys:
    """`kit.identity.KeySource` over the signing keys and, where it is configured, the HS256 secret."""

    def __init__(self, keys: SigningKeys, hs256_secret: Secret) -> None:
        """Raises SigningKeyError for a secret that is too short, or a signing key that has the secret's `kid`."""
        self._signing = keys
        self._secret = hs256_secret
        self._keys: dict[str, Any] = {}
        if hs256_secret and len(hs256_secret.reveal().encode()) < HS256_MIN_BYTES:
            raise SigningKeyError(f"the HS256 secret is shorter than {HS256_MIN_BYTES} bytes")
        if hs256_secret and HS256_KID in keys.kids:
            raise SigningKeyError(f"kid {HS256_KID!r} belongs to the HS256 secret; name the signing key otherwise")

    async def key(self, kid: str) -> Any | None:
        """See KeySource. Nothing is fetched: an unknown id costs a look into a dict."""
        if not self._keys:
            self._keys = self._load()
        return self._keys.get(kid)

    def _load(self) -> dict[str, Any]:
        import jwt

        keys = {jwk["kid"]: jwt.PyJWK.from_dict(jwk, "EdDSA") for jwk in self._signing.public_jwks()["keys"]}
        if self._secret:
            keys[HS256_KID] = jwt.PyJWK.from_dict({"kty": "oct", "k": _base64url(self._secret)}, "HS256")
        return keys


def _scope(who: Identity) -> dict[str, Any]:
    if who.key_id is None:
        return {}
    return {"key_id": who.key_id, "models": list(who.models), "actions": list(who.actions)}


def _base64url(secret: Secret) -> str:
    from jwt.utils import base64url_encode

    return base64url_encode(secret.reveal().encode()).decode()
