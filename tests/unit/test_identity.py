"""The verifier against forged, foreign and stale credentials; and the two remote sources' caches."""

import base64
import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from functions.kit import apikey, remote
from functions.kit.identity import AUDIENCE, ISSUER, TOKEN_TYPE, VERDICT_TTL_S, Identity, Verifier
from functions.kit.problem import Forbidden, Retry, Unauthorized

NOW = int(time.time())
CLAIMS: Mapping[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "ann",
    "role": "operator",
    "jti": "t1",
    "iat": NOW,
    "exp": NOW + 600,
}
PRIVATE = Ed25519PrivateKey.generate()
PUBLIC_RAW = PRIVATE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
PUBLIC_PEM = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
JWK = {
    "kty": "OKP",
    "crv": "Ed25519",
    "alg": "EdDSA",
    "use": "sig",
    "kid": "k1",
    "x": base64.urlsafe_b64encode(PUBLIC_RAW).rstrip(b"=").decode(),
}
JWKS = json.dumps({"keys": [JWK]}).encode()


class Keys:
    """The public key above."""

    async def key(self, kid: str) -> Any | None:
        """One key, k1."""
        return jwt.PyJWK.from_dict(JWK) if kid == "k1" else None


class NoApiKeys:
    """Knows none."""

    async def identity(self, key: str) -> Identity | None:
        """Nobody."""
        assert key
        return None


VERIFIER = Verifier(Keys(), NoApiKeys())


def _token(claims: Mapping[str, Any] = CLAIMS, **header: Any) -> str:
    return jwt.encode(dict(claims), PRIVATE, algorithm="EdDSA", headers={"kid": "k1", "typ": TOKEN_TYPE, **header})


def _forged(header: Mapping[str, Any], secret: bytes = b"") -> str:
    """A token whose HMAC is made with `secret`, with any header."""
    import hashlib
    import hmac

    def part(value: Mapping[str, Any]) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    signed = part(header) + b"." + part(CLAIMS)
    mac = hmac.new(secret, signed, hashlib.sha256).digest() if secret else b""
    return (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


async def test_a_good_token_is_an_identity() -> None:
    """Subject, role and the actions of the role."""
    identity = await VERIFIER.identify(f"Bearer {_token()}")
    assert Identity("ann", "operator", ("*",), ("infer", "read", "operate"), float(NOW + 600)) == identity


async def test_a_token_narrows_its_role() -> None:
    """Claims may take actions and models away, never add."""
    claims = {**CLAIMS, "models": ["smol"], "actions": ["infer", "admin"]}
    identity = await VERIFIER.identify(f"Bearer {_token(claims)}")
    assert (("smol",), ("infer",)) == (identity.models, identity.actions)


_HEADER = {"alg": "HS256", "typ": TOKEN_TYPE, "kid": "k1"}
FORGERIES = {
    "none": _forged({**_HEADER, "alg": "none"}),
    "None": _forged({**_HEADER, "alg": "None"}),
    "algorithm missing": _forged({"typ": TOKEN_TYPE, "kid": "k1"}),
    "public key as secret, raw": _forged(_HEADER, PUBLIC_RAW),
    "public key as secret, PEM": _forged(_HEADER, PUBLIC_PEM),
    "public key as secret, JWK": _forged(_HEADER, json.dumps(JWK).encode()),
    "foreign signature": jwt.encode(
        dict(CLAIMS), Ed25519PrivateKey.generate(), algorithm="EdDSA", headers={"kid": "k1", "typ": TOKEN_TYPE}
    ),
    "unknown key": _token(kid="k2"),
    "key id of a path": _token(kid="../../etc/passwd"),
    "huge key id": _token(kid="k" * 1_000_000),
    "another kind of token": _token(typ="JWT"),
    "critical extension": _token(crit=["b64"], b64=False),
    "wrong audience": _token({**CLAIMS, "aud": "other"}),
    "audience missing": _token({key: value for key, value in CLAIMS.items() if key != "aud"}),
    "prefix of the issuer": _token({**CLAIMS, "iss": "torp"}),
    "expired": _token({**CLAIMS, "iat": NOW - 700, "exp": NOW - 100}),
    "never expires": _token({key: value for key, value in CLAIMS.items() if key != "exp"}),
    "expiry as text": _token({**CLAIMS, "exp": str(NOW + 600)}),
    "a hundred years": _token({**CLAIMS, "exp": NOW + 10**9}),
    "beyond all numbers": _token({**CLAIMS, "exp": 10**400}),
    "not yet": _token({**CLAIMS, "nbf": NOW + 600}),
    "issued in the future": _token({**CLAIMS, "iat": NOW + 600, "exp": NOW + 900}),
    "a role that is none": _token({**CLAIMS, "role": "root"}),
    "a subject with a NUL": _token({**CLAIMS, "sub": "a\0b"}),
    "not a token": "abc",
    "five parts": "a.b.c.d.e",
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
async def test_a_forged_token_is_refused(forgery: str) -> None:
    """401, whatever is wrong."""
    with pytest.raises(Unauthorized):
        await VERIFIER.identify(f"Bearer {forgery}")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        f"APIKEY {_token()}",
        "Bearer tpk_short",
        f"Bearer {apikey.generate()}",
        "Bearer é",
    ],
)
async def test_other_headers_are_refused(header: str | None) -> None:
    """Only the two schemes, each with what it is for."""
    with pytest.raises(Unauthorized):
        await VERIFIER.identify(header)


def test_an_action_that_is_not_allowed_is_forbidden() -> None:
    """403, naming who and what."""
    with pytest.raises(Forbidden, match="ann may not operate"):
        Identity("ann", "user", ("*",), ("infer",), 0).require("operate")


class Auth:
    """Plays the auth function: a status and a body, counting its calls."""

    def __init__(self, status: int, body: bytes) -> None:
        self.answer: tuple[int, bytes] | None = (status, body)
        self.calls = 0

    async def __call__(self, url: str, headers: dict[str, str]) -> tuple[int, bytes]:
        """Answer, or be down."""
        assert url, headers
        self.calls += 1
        if self.answer is None:
            raise Retry(1, "down")
        return self.answer


class Clock:
    """A clock that only moves by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def _keys(auth: Auth, clock: Clock) -> remote.RemoteKeys:
    return remote.RemoteKeys("u", auth, clock=clock)


async def test_the_jwks_is_fetched_once() -> None:
    """Known keys cost nothing until the cache is old."""
    auth, clock = Auth(200, JWKS), Clock()
    keys = _keys(auth, clock)
    found = [(await keys.key("k1")).key_id for _ in range(3)]  # type: ignore[union-attr]  # None would fail the test
    clock.now += remote.JWKS_TTL_S + 1
    await keys.key("k1")
    assert (["k1"] * 3, 2) == (found, auth.calls)


async def test_forged_key_ids_do_not_flood_auth() -> None:
    """Ten thousand unknown ids: one look in the cool-down."""
    auth, clock = Auth(200, JWKS), Clock()
    keys = _keys(auth, clock)
    for number in range(10_000):
        assert await keys.key(f"x{number}") is None
    assert auth.calls == 1


async def test_keys_stay_valid_while_auth_is_down() -> None:
    """An outage of auth does not log anybody out."""
    auth, clock = Auth(200, JWKS), Clock()
    keys = _keys(auth, clock)
    await keys.key("k1")
    auth.answer = None
    clock.now += remote.JWKS_TTL_S + 1
    assert await keys.key("k1") is not None


async def test_without_any_key_the_answer_is_retry() -> None:
    """Unknown is not refused: 503, and fail closed."""
    auth = Auth(500, b"")
    with pytest.raises(Retry):
        await _keys(auth, Clock()).key("k1")


def test_private_and_symmetric_keys_are_left_out() -> None:
    """A key set with anything but public signing keys is not obeyed."""
    secret = {"kty": "oct", "kid": "s", "k": "c2VjcmV0", "alg": "HS256"}
    other = {**JWK, "kid": "e", "use": "enc"}
    jwks = json.dumps({"keys": [JWK, secret, other, {**JWK, "kid": "p", "d": "AAAA"}]}).encode()
    assert ["k1"] == list(remote.public_keys(jwks))


async def test_a_verdict_on_an_api_key_is_kept_briefly() -> None:
    """Asked once in its time to live; a revocation is noticed after it."""
    verdict = {"subject": "ann", "role": "user", "models": ["*"], "actions": ["infer"], "key_id": "abcdefgh"}
    auth, clock, key = Auth(200, json.dumps(verdict).encode()), Clock(), apikey.generate()
    keys = remote.RemoteApiKeys("u", auth, clock=clock)
    first = [await keys.identity(key), await keys.identity(key)]
    auth.answer = (401, b"{}")
    clock.now += remote.API_KEY_TTL_S + 1
    expected = Identity("ann", "user", ("*",), ("infer",), 1000.0 + remote.API_KEY_TTL_S, "abcdefgh")
    assert [expected, expected, None] == [*first, await keys.identity(key)]
    assert auth.calls == 2


async def test_a_withdrawn_signing_key_is_soon_worth_nothing() -> None:
    """A cached verdict is asked again after its time to live, though the token itself lives longer."""

    class Withdrawable(Keys):
        gone = False

        async def key(self, kid: str) -> Any | None:
            return None if self.gone else await super().key(kid)

    keys, clock = Withdrawable(), Clock()
    clock.now = float(NOW)
    verifier, token = Verifier(keys, NoApiKeys(), clock=clock), _token({**CLAIMS, "exp": NOW + 3000})
    await verifier.identify(f"Bearer {token}")
    keys.gone = True
    clock.now += VERDICT_TTL_S + 1
    with pytest.raises(Unauthorized):
        await verifier.identify(f"Bearer {token}")
