"""Forged tokens of every kind against auth's own key set: each is refused, with one and the same sentence."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from functions.auth.signing import SigningKeys, generate
from functions.auth.tokens import Issuer, OwnKeys
from functions.kit.identity import ACTIONS_OF_ROLE, Identity, Verifier
from functions.kit.problem import Unauthorized
from functions.kit.settings import Secret

NOW = int(time.time())  # PyJWT reads the clock by itself
JWKS = generate()
KEYS = SigningKeys(Secret(json.dumps(JWKS)))
KID = KEYS.kids[0]
HS256_SECRET = "a shared secret of more than 32 bytes"
ADA = Identity("ada", "operator", ("*",), ACTIONS_OF_ROLE["operator"], NOW + 3600)
HEADER = {"alg": "EdDSA", "typ": "at+jwt", "kid": KID}
CLAIMS = {
    "iss": "torpor",
    "aud": "torpor",
    "sub": "ada",
    "role": "operator",
    "jti": "1",
    "iat": NOW,
    "nbf": NOW,
    "exp": NOW + 3600,
}


class NoApiKeys:
    """An ApiKeySource that must not be asked."""

    async def identity(self, key: str) -> Identity | None:
        """Fail: a token is no API key."""
        raise AssertionError(key)


def verifier(hs256: str = "") -> Verifier:
    """What auth verifies with."""
    return Verifier(OwnKeys(KEYS, Secret(hs256)), NoApiKeys())


def b64(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def compact(header: Any, claims: Any, sign: Callable[[bytes], bytes]) -> str:
    """A compact JWS of whatever was given; bytes and text stay as they are."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    signed = ".".join(map(b64, parts)).encode()
    return f"{signed.decode()}.{b64(sign(signed))}"


def eddsa(signed: bytes) -> bytes:
    """The right signature."""
    return KEYS.first().sign(signed)


def hs256(secret: bytes) -> Callable[[bytes], bytes]:
    """An HMAC made with `secret`."""
    return lambda signed: hmac.new(secret, signed, hashlib.sha256).digest()


def unsigned(_: bytes) -> bytes:
    """No signature."""
    return b""


def header(**changes: Any) -> dict[str, Any]:
    """A good header with changes; None takes a member away."""
    return {name: value for name, value in (HEADER | changes).items() if value is not None}


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims with changes; None takes a member away."""
    return {name: value for name, value in (CLAIMS | changes).items() if value is not None}


PUBLIC = KEYS.public_jwks()["keys"][0]
RAW_PUBLIC = KEYS.first().public_key().public_bytes_raw()
SPKI = bytes.fromhex("302a300506032b6570032100") + RAW_PUBLIC  # RFC 8410's DER around the 32 bytes
PEM = b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(SPKI) + b"\n-----END PUBLIC KEY-----\n"

FORGED = {
    # A1: no algorithm.
    "alg none": compact(header(alg="none"), CLAIMS, unsigned),
    "alg None": compact(header(alg="None"), CLAIMS, unsigned),
    "alg noNE": compact(header(alg="noNE"), CLAIMS, unsigned),
    "alg missing": compact(header(alg=None), CLAIMS, eddsa),
    "alg a list": compact(header(alg=["EdDSA"]), CLAIMS, eddsa),
    "no signature": compact(HEADER, CLAIMS, unsigned),
    # A2: the public key as a shared secret.
    "secret is the raw public key": compact(header(alg="HS256"), CLAIMS, hs256(RAW_PUBLIC)),
    "secret is the JWK": compact(header(alg="HS256"), CLAIMS, hs256(json.dumps(PUBLIC).encode())),
    "secret is the JWKS": compact(header(alg="HS256"), CLAIMS, hs256(json.dumps(KEYS.public_jwks()).encode())),
    "secret is the PEM": compact(header(alg="HS256"), CLAIMS, hs256(PEM)),
    "secret is the DER": compact(header(alg="HS256"), CLAIMS, hs256(SPKI)),
    "secret is x": compact(header(alg="HS256"), CLAIMS, hs256(PUBLIC["x"].encode())),
    "secret is x after a BOM": compact(header(alg="HS256"), CLAIMS, hs256(b"\xef\xbb\xbf" + PUBLIC["x"].encode())),
    "secret is empty": compact(header(alg="HS256"), CLAIMS, hs256(b"")),
    # A3, where no HS256 secret is configured.
    "HS256 without a secret configured": compact(header(alg="HS256", kid="hs256"), CLAIMS, hs256(b"x" * 32)),
    # A4: the key id.
    "kid missing": compact(header(kid=None), CLAIMS, eddsa),
    "kid a list": compact(header(kid=[KID]), CLAIMS, eddsa),
    "kid SQL": compact(header(kid="' OR 1=1 --"), CLAIMS, eddsa),
    "kid a path": compact(header(kid="../../dev/null"), CLAIMS, eddsa),
    "kid NUL": compact(header(kid=f"{KID}\0"), CLAIMS, eddsa),
    "kid a megabyte": compact(header(kid="k" * 1_000_000), CLAIMS, eddsa),
    # A5: a key that the token brings along.
    "jwk of the attacker": compact(
        header(kid="evil", jwk=PUBLIC, jku="http://127.0.0.1:1/", x5u="http://127.0.0.1:1/", x5c=["AA=="]),
        CLAIMS,
        eddsa,
    ),
    # A6: extensions that must be understood.
    "unknown crit": compact(header(crit=["x"], x=1), CLAIMS, eddsa),
    "b64 false": compact(header(crit=["b64"], b64=False), CLAIMS, eddsa),
    # A7: for somebody else, from somebody else.
    "aud wrong": compact(HEADER, claims(aud="tor"), eddsa),
    "aud missing": compact(HEADER, claims(aud=None), eddsa),
    "iss wrong": compact(HEADER, claims(iss="torpor2"), eddsa),
    "iss a prefix": compact(HEADER, claims(iss="torp"), eddsa),
    "iss a list": compact(HEADER, claims(iss=["torpor"]), eddsa),
    "iss missing": compact(HEADER, claims(iss=None), eddsa),
    # A8: times.
    "expired": compact(HEADER, claims(iat=NOW - 3600, exp=NOW - 10), eddsa),
    "exp missing": compact(HEADER, claims(exp=None), eddsa),
    "exp endless": compact(HEADER, json.dumps(CLAIMS).replace(str(NOW + 3600), "9" * 400).encode(), eddsa),
    "exp infinite": compact(HEADER, json.dumps(CLAIMS).replace(str(NOW + 3600), "Infinity").encode(), eddsa),
    "exp text": compact(HEADER, claims(exp=str(NOW + 3600)), eddsa),
    "exp a float": compact(HEADER, claims(exp=NOW + 3600.5), eddsa),
    "exp true": compact(HEADER, claims(exp=True), eddsa),
    "nbf in the future": compact(HEADER, claims(nbf=NOW + 3000), eddsa),
    "iat in the future": compact(HEADER, claims(iat=NOW + 3000), eddsa),
    "iat missing": compact(HEADER, claims(iat=None), eddsa),
    "a life beyond the maximum": compact(HEADER, claims(exp=NOW + 3700), eddsa),
    "a hundred years": compact(HEADER, claims(iat=NOW - 10, exp=NOW + 3_153_600_000), eddsa),
    # A9: texts that parsers trip over.
    "claims not an object": compact(HEADER, [CLAIMS], eddsa),
    "claims nested deep": compact(HEADER, b"[" * 5000, eddsa),
    "header nested deep": compact(b"[" * 5000, CLAIMS, eddsa),
    "too long": compact(HEADER, claims(padding="x" * 20_000), eddsa),
    "JSON serialisation": json.dumps({"protected": "e30", "payload": "e30", "signature": "e30"}),
    "five parts, as JWE has": "e30.e30.e30.e30.e30",
    "two parts": "e30.e30",
    "no token at all": "x",
    # A10: of another kind.
    "typ JWT": compact(header(typ="JWT"), CLAIMS, eddsa),
    "typ refresh": compact(header(typ="rt+jwt"), CLAIMS, eddsa),
    "typ missing": compact(header(typ=None), CLAIMS, eddsa),
    # Ours in form, never given by us.
    "sub missing": compact(HEADER, claims(sub=None), eddsa),
    "sub with a line break": compact(HEADER, claims(sub="ada\r\nX-Torpor-Role: admin"), eddsa),
    "role unknown": compact(HEADER, claims(role="root"), eddsa),
    "role a list": compact(HEADER, claims(role=["admin"]), eddsa),
    "models a number": compact(HEADER, claims(models=0), eddsa),
    "jti missing": compact(HEADER, claims(jti=None), eddsa),
    # Changed after signing.
    "another role": compact(HEADER, claims(role="admin"), lambda _: eddsa(b"something else")),
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED)
async def test_forged_token_is_refused(token: str) -> None:
    """Whatever is wrong with a token, the answer is Unauthorized and never another error."""
    with pytest.raises(Unauthorized):
        await verifier().identify(f"Bearer {token}")


@pytest.mark.parametrize(
    "token",
    [
        compact(header(alg="HS256"), CLAIMS, hs256(HS256_SECRET.encode())),
        compact(header(kid="hs256"), CLAIMS, eddsa),
        compact(header(alg="HS512", kid="hs256"), CLAIMS, hs256(HS256_SECRET.encode())),
    ],
    ids=["EdDSA's kid with HS256", "HS256's kid with EdDSA", "HS256's kid with HS512"],
)
async def test_one_key_has_one_algorithm(token: str) -> None:
    """A3: with both kinds of key configured, neither key id works with the other's algorithm."""
    with pytest.raises(Unauthorized):
        await verifier(HS256_SECRET).identify(f"Bearer {token}")


async def test_issued_token_says_who_it_is() -> None:
    """The table above starts from a token that is good: what auth issues is verified and names its subject."""
    token = Issuer(KEYS).issue(ADA).access_token

    who = await verifier().identify(f"Bearer {token}")

    assert who == ADA


async def test_hand_made_good_token_is_accepted() -> None:
    """The builder of the forged tokens makes a good one when nothing is changed, so it is the change that is refused."""
    who = await verifier().identify(f"Bearer {compact(HEADER, CLAIMS, eddsa)}")

    assert who.subject == "ada"


async def test_configured_secret_verifies_hs256() -> None:
    """Where the operator configures a shared secret, its tokens are accepted under its own key id."""
    token = compact(header(alg="HS256", kid="hs256"), CLAIMS, hs256(HS256_SECRET.encode()))

    who = await verifier(HS256_SECRET).identify(f"Bearer {token}")

    assert who.subject == "ada"


async def test_token_of_a_key_cannot_do_more_than_the_key() -> None:
    """A token made from an API key carries the key's id, models and actions, and ends when the key does."""
    scoped = Identity("ada", "operator", ("m",), ("infer",), NOW + 1800, "abcdefgh")

    issued = Issuer(KEYS, clock=lambda: NOW).issue(scoped)

    assert issued.expires_in == 1800
    assert await verifier().identify(f"Bearer {issued.access_token}") == scoped


async def test_rotation_keeps_the_old_key_until_it_is_taken_out() -> None:
    """A12: the old key's token verifies while the key is second in the set, and no longer when it is gone."""
    fresh = generate()["keys"][0]
    token = Issuer(KEYS).issue(ADA).access_token
    overlap = SigningKeys(Secret(json.dumps({"keys": [fresh, *JWKS["keys"]]})))
    after = SigningKeys(Secret(json.dumps({"keys": [fresh]})))

    during = await Verifier(OwnKeys(overlap, Secret("")), NoApiKeys()).identify(f"Bearer {token}")

    assert during.subject == "ada"
    with pytest.raises(Unauthorized):
        await Verifier(OwnKeys(after, Secret("")), NoApiKeys()).identify(f"Bearer {token}")


def test_first_key_signs() -> None:
    """After rotation new tokens name the new key."""
    fresh = generate()["keys"][0]
    rotated = SigningKeys(Secret(json.dumps({"keys": [fresh, *JWKS["keys"]]})))

    token = Issuer(rotated).issue(ADA).access_token

    assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "typ": "at+jwt", "kid": fresh["kid"]}
