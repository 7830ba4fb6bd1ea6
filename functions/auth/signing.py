"""The keys that auth signs tokens with: a private JWKS from the Secret `torpor-auth`, made by `functions.auth.keygen`.

The first key signs, all of them verify. Rotation with overlap: put the new key first and leave the old one in the set
for as long as a token lives (one hour) and a JWKS stays cached (ten minutes); tokens of a key that is gone are refused.
Loading is strict where libraries are not: PyJWT and joserfc accept key sets with mixed types and with doubled `kid`s.
"""

import base64
import functools
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from functions.kit.problem import Unavailable
from functions.kit.settings import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

# Both halves of an Ed25519 key are 32 bytes (RFC 8032 section 5.1.5).
ED25519_BYTES: Final = 32
# What goes into a header and a log line: short and plain, whatever somebody puts into a Secret.
_KID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class SigningKeyError(ValueError):
    """The private JWKS cannot be used; the message says which key and why, and never shows a key."""


class UnusableSigningKeys(Unavailable):
    """The signing keys cannot be used"""


class PrivateJwk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One Ed25519 key as a private JWK (RFC 8037). Another key type or a missing `d` does not decode."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    kid: str
    x: str
    d: str
    alg: Literal["EdDSA"] = "EdDSA"
    use: Literal["sig"] = "sig"

    def __repr__(self) -> str:
        return f"PrivateJwk(kid={self.kid!r})"

    def public(self) -> dict[str, str]:
        """The JWK without its private half."""
        return {"kty": self.kty, "crv": self.crv, "kid": self.kid, "x": self.x, "alg": self.alg, "use": self.use}

    def private_key(self) -> "Ed25519PrivateKey":
        """The key itself. Raises SigningKeyError when `x` is not the public half of `d`."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        private = Ed25519PrivateKey.from_private_bytes(_decode(self.d, f"d of key {self.kid!r}"))
        if private.public_key().public_bytes_raw() != _decode(self.x, f"x of key {self.kid!r}"):
            raise SigningKeyError(f"x of key {self.kid!r} is not the public half of its d")
        return private


class _PrivateJwks(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[PrivateJwk]


class SigningKeys:
    """The loaded set. Reading it costs no cryptography import; the first signature or JWKS does."""

    def __init__(self, jwks: Secret) -> None:
        """Raises SigningKeyError when the set is malformed, empty, of mixed types or has a `kid` twice."""
        self._jwks: Final = tuple(_parse(jwks.reveal()))

    @property
    def kids(self) -> tuple[str, ...]:
        """The ids of the keys, the one that signs first."""
        return tuple(jwk.kid for jwk in self._jwks)

    @functools.cached_property
    def _private(self) -> "Sequence[Ed25519PrivateKey]":
        return [jwk.private_key() for jwk in self._jwks]

    def first(self) -> "Ed25519PrivateKey":
        """The key that signs. Raises UnusableSigningKeys when any key of the set has an `x` that is not its own."""
        try:
            return self._private[0]
        except SigningKeyError as error:
            raise UnusableSigningKeys(f"TORPOR_SIGNING_KEYS: {error}") from error

    async def check(self) -> None:
        """For `/readyz`: every key is whole. Raises UnusableSigningKeys."""
        self.first()

    def public_jwks(self) -> dict[str, list[dict[str, str]]]:
        """What `/auth/jwks.json` answers: the public halves alone, each proved to belong to its private half."""
        self.first()
        return {"keys": [jwk.public() for jwk in self._jwks]}


def generate() -> dict[str, Any]:
    """A fresh private JWKS with one key, whose `kid` is its thumbprint (RFC 7638, RFC 8037 appendix A.3)."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    x = _encode(private.public_key().public_bytes_raw())
    # The members and their order are those that RFC 7638 hashes.
    kid = _encode(hashlib.sha256(msgspec.json.encode({"crv": "Ed25519", "kty": "OKP", "x": x})).digest())
    key = PrivateJwk(kty="OKP", crv="Ed25519", kid=kid, x=x, d=_encode(private.private_bytes_raw()))
    return {"keys": [msgspec.to_builtins(key)]}


def _parse(text: str) -> list[PrivateJwk]:
    try:
        keys = msgspec.json.decode(text, type=_PrivateJwks).keys
    except (msgspec.MsgspecError, RecursionError) as error:
        raise SigningKeyError(f"is not a private JWKS of Ed25519 keys: {error}") from error
    if not keys:
        raise SigningKeyError('holds no key; make one with "python -m functions.auth.keygen"')
    for kid, times in Counter(key.kid for key in keys).items():
        if times > 1 or not _KID.fullmatch(kid):
            raise SigningKeyError(f"kid {kid[:64]!r} is used twice or is not 1 to 64 of A-Z a-z 0-9 _ -")
    for key in keys:
        _decode(key.x, f"x of key {key.kid!r}")
        _decode(key.d, f"d of key {key.kid!r}")
    return keys


def _decode(text: str, what: str) -> bytes:
    """32 bytes of unpadded base64url; one spelling per value, or the same key could hide under two texts."""
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) if re.fullmatch(r"[A-Za-z0-9_-]+", text) else b""
    if len(raw) != ED25519_BYTES or _encode(raw) != text:
        raise SigningKeyError(f"{what} is not {ED25519_BYTES} bytes of base64url without padding")
    return raw


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
