"""`/auth/verify` and the public keys: what an ingress, the other functions and the engines are told."""

import base64
import json
import time

import httpx
import pytest

from functions.auth.signing import SigningKeys, generate
from functions.auth.tokens import Issuer
from functions.kit.db import Database
from functions.kit.identity import Identity
from functions.kit.settings import Secret
from tests.integration.auth.client import ADA, JWKS, app, bearer, by_key, new_key


async def test_identity_headers_of_the_client_decide_nothing(http: httpx.AsyncClient) -> None:
    """A14, A15: whatever identity, path or method headers a client sends, the answer is the credential's."""
    spoofed = {
        "X-Torpor-Subject": "root",
        "X_Torpor_Role": "admin",
        "X.Torpor.Actions": "admin",
        "X-Forwarded-Uri": "/healthz",
        "X-Forwarded-User": "root",
        "X-HTTP-Method-Override": "OPTIONS",
        "Host": "a/?x=",
    }

    nobody = await http.get("/auth/verify", headers=spoofed)
    ada = await http.get("/auth/verify", headers=spoofed | await bearer(http, "ada", ADA))

    assert (nobody.status_code, "x-torpor-subject" in nobody.headers) == (401, False)
    assert nobody.headers["www-authenticate"].startswith("Bearer")
    assert (ada.headers["x-torpor-subject"], ada.headers["x-torpor-role"]) == ("ada", "user")
    assert ada.headers["x-torpor-key-id"] == ""


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_any_method_and_path_below_verify_is_answered(http: httpx.AsyncClient, method: str) -> None:
    """Envoy asks with the caller's method, path, query and the start of its body; the query there is not ours."""
    who = await bearer(http, "ada", ADA)
    path = "/auth/verify/m/smol/v1/chat/completions?action=admin"

    allowed = await http.request(method, path, headers=who, content=b"{" * 8192)
    refused = await http.request(method, path)

    assert (allowed.status_code, refused.status_code) == (200, 401)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 200),
        ("?action=infer", 200),
        ("?action=operate", 403),
        ("?action=infer&action=admin", 403),
        ("?model=smol", 200),
        ("?model=other", 403),
    ],
)
async def test_verify_can_ask_for_an_action_and_a_model(http: httpx.AsyncClient, query: str, status: int) -> None:
    """An ingress may write into its address what the route needs; whoever lacks it gets 403."""
    key = await new_key(http, await bearer(http, "ada", ADA), models=["smol"])

    answer = await http.get(f"/auth/verify{query}", headers=by_key(key))

    assert answer.status_code == status


async def test_two_authorization_headers_are_refused(http: httpx.AsyncClient) -> None:
    """An ingress might believe the other one."""
    who = (await bearer(http, "ada", ADA))["Authorization"]

    answer = await http.get("/auth/verify", headers=[("Authorization", who), ("Authorization", who)])

    assert answer.status_code == 401


async def test_jwks_shows_no_private_half_and_is_cacheable(http: httpx.AsyncClient) -> None:
    """Both addresses answer the public keys, for five minutes."""
    answers = [await http.get(path) for path in ("/auth/jwks.json", "/.well-known/jwks.json")]

    assert [answer.json()["keys"][0]["kid"] for answer in answers] == [JWKS["keys"][0]["kid"]] * 2
    assert all("d" not in key for answer in answers for key in answer.json()["keys"])
    assert {answer.headers["cache-control"] for answer in answers} == {"public, max-age=300"}


async def test_rotation_with_overlap(http: httpx.AsyncClient, db: Database) -> None:
    """A12: a token of the old key works while the old key is second in the set, and is refused without it."""
    old = await bearer(http, "ada", ADA)
    fresh = generate()["keys"][0]

    async with app(db, {"keys": [fresh, *JWKS["keys"]]}) as during, app(db, {"keys": [fresh]}) as after:
        assert (await during.get("/auth/verify", headers=old)).status_code == 200
        assert (await after.get("/auth/verify", headers=old)).status_code == 401
        assert [key["kid"] for key in (await during.get("/auth/jwks.json")).json()["keys"]] == [
            fresh["kid"],
            JWKS["keys"][0]["kid"],
        ]


async def test_basic_credentials_are_not_a_bearer(http: httpx.AsyncClient) -> None:
    """HTTP Basic belongs to the token form; anywhere else it is refused."""
    basic = base64.b64encode(f"ada:{ADA}".encode()).decode()

    answer = await http.get("/auth/verify", headers={"Authorization": f"Basic {basic}"})

    assert answer.status_code == 401


async def test_without_the_database_nothing_is_let_through() -> None:
    """A16: log-ins and API keys get 503 with Retry-After, never 200; a token needs no database and still verifies."""
    from functions.kit import apikey

    signing = SigningKeys(Secret(json.dumps(JWKS)))
    ada = Identity("ada", "user", ("*",), ("infer", "read"), time.time() + 60)
    issued = Issuer(signing).issue(ada).access_token
    async with app(Database(Secret("postgresql://u:p@127.0.0.1:1/nowhere"))) as http:
        login = await http.post("/auth/token", json={"username": "ada", "password": ADA})
        by_api_key = await http.get("/auth/verify", headers=by_key({"key": apikey.generate()}))
        by_token = await http.get("/auth/verify", headers={"Authorization": f"Bearer {issued}"})
        ready = await http.get("/readyz")

    assert [answer.status_code for answer in (login, by_api_key, by_token, ready)] == [503, 503, 200, 503]
    assert "retry-after" in login.headers
    assert ready.json()["failed"] == "PostgreSQL"
