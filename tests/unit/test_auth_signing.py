"""The private key set: what is refused when it is read, and what leaves auth."""

import json
import re
from typing import Any

import pytest

from functions.auth import keygen
from functions.auth.app import build
from functions.auth.settings import Settings
from functions.auth.signing import SigningKeyError, SigningKeys, UnusableSigningKeys, generate
from functions.kit.settings import Secret, SettingsError, load

KEY = generate()["keys"][0]
OTHER = generate()["keys"][0]


def read(*keys: dict[str, Any]) -> SigningKeys:
    """A set of these keys."""
    return SigningKeys(Secret(json.dumps({"keys": keys})))


def without(name: str) -> dict[str, Any]:
    """The key without one member."""
    return {member: value for member, value in KEY.items() if member != name}


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [KEY, KEY],
        [KEY, OTHER | {"kid": KEY["kid"]}],
        [KEY, {"kty": "oct", "kid": "shared", "k": "c2VjcmV0"}],
        [KEY, {"kty": "RSA", "kid": "rsa", "n": "AQAB", "e": "AQAB", "d": "AQAB"}],
        [KEY | {"crv": "X25519"}],
        [KEY | {"alg": "HS256"}],
        [KEY | {"use": "enc"}],
        [without("d")],
        [without("kid")],
        [KEY | {"kid": "a b"}],
        [KEY | {"kid": "k" * 65}],
        [KEY | {"kid": ""}],
        [KEY | {"d": KEY["d"] + "="}],
        [KEY | {"d": KEY["d"][:-4]}],
        [KEY | {"d": "/" + KEY["d"][1:]}],
    ],
    ids=[
        "empty",
        "same key twice",
        "same kid twice",
        "shared secret beside it",
        "RSA beside it",
        "another curve",
        "another algorithm",
        "for encryption",
        "no private half",
        "no kid",
        "kid with a space",
        "kid too long",
        "kid empty",
        "padding",
        "too short",
        "not base64url",
    ],
)
def test_unusable_set_is_refused_when_read(keys: list[dict[str, Any]]) -> None:
    """Mixed, doubled, incomplete and misspelt keys end the start of the function, and no message shows a private half."""
    with pytest.raises(SigningKeyError) as refused:
        read(*keys)

    assert KEY["d"][:20] not in str(refused.value)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"keys": {}}', "[" * 5000])
def test_what_is_no_key_set_is_refused(text: str) -> None:
    """Other documents are refused as such."""
    with pytest.raises(SigningKeyError, match="not a private JWKS"):
        SigningKeys(Secret(text))


def test_public_half_of_another_key_is_refused() -> None:
    """A key whose x is not made from its d neither signs nor is published, wherever it stands in the set."""
    keys = read(OTHER, KEY | {"x": OTHER["x"]})

    with pytest.raises(UnusableSigningKeys, match="not the public half"):
        keys.public_jwks()
    with pytest.raises(UnusableSigningKeys, match="TORPOR_SIGNING_KEYS"):
        keys.first()


def test_published_keys_have_no_private_half() -> None:
    """The JWKS has exactly the public members, in the order of the set."""
    published = read(KEY, OTHER).public_jwks()["keys"]

    assert [set(key) for key in published] == [{"kty", "crv", "kid", "x", "alg", "use"}] * 2
    assert [key["kid"] for key in published] == [KEY["kid"], OTHER["kid"]]


def test_a_key_does_not_show_itself() -> None:
    """A24: no repr has the private half."""
    keys = read(KEY)

    assert KEY["d"] not in repr(keys._jwks)


def test_keygen_prints_a_set_that_loads(capsys: pytest.CaptureFixture[str]) -> None:
    """What the command prints goes into the Secret as it is."""
    keygen.main()

    printed = capsys.readouterr().out

    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", SigningKeys(Secret(printed)).kids[0])


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({"TORPOR_SIGNING_KEYS": "{}"}, "TORPOR_SIGNING_KEYS"),
        ({"TORPOR_HS256_SECRET": "x" * 31}, "TORPOR_HS256_SECRET"),
        (
            {"TORPOR_HS256_SECRET": "x" * 32, "TORPOR_SIGNING_KEYS": json.dumps({"keys": [KEY | {"kid": "hs256"}]})},
            "TORPOR_HS256_SECRET",
        ),
    ],
    ids=["no key set", "short secret", "one kid for both"],
)
def test_start_fails_naming_the_variable(environ: dict[str, str], variable: str) -> None:
    """A function that could not sign does not start."""
    good = {"TORPOR_DATABASE_URL": "postgresql://nowhere/", "TORPOR_SIGNING_KEYS": json.dumps({"keys": [KEY]})}

    with pytest.raises(SettingsError, match=f"^{variable}: "):
        build(load(Settings, good | environ))
