"""API keys over HTTP with a real PostgreSQL: shown once, never wider than their maker, gone when revoked."""

from typing import Any

import httpx
import pytest

from functions.kit.db import Database
from tests.integration.auth.client import ADA, bearer, by_key, new_key


async def test_key_is_shown_once_and_stored_as_a_digest(http: httpx.AsyncClient, db: Database) -> None:
    """The key itself is in the first answer alone: no list and no row has it."""
    who = await bearer(http, "ada", ADA)
    key = await new_key(http, who)

    listed = await http.get("/auth/keys", headers=who)
    row = await db.fetchrow("SELECT * FROM api_keys")

    assert [entry["id"] for entry in listed.json()["keys"]] == [key["id"]]
    assert key["key"] not in listed.text
    assert key["key"] not in str(dict(row))


@pytest.mark.parametrize("scheme", ["APIKEY", "Bearer", "apikey"])
async def test_key_works_in_both_schemes_until_revoked(http: httpx.AsyncClient, scheme: str) -> None:
    """A21: an API key is accepted as APIKEY and as Bearer, and not one request after it was revoked."""
    who = await bearer(http, "ada", ADA)
    key = await new_key(http, who)
    before = await http.get("/auth/verify", headers=by_key(key, scheme))

    revoked = [(await http.delete(f"/auth/keys/{key['id']}", headers=who)).status_code for _ in range(2)]
    after = await http.get("/auth/verify", headers=by_key(key, scheme))

    assert (before.status_code, revoked, after.status_code) == (200, [204, 204], 401)


async def test_expired_key_is_refused(http: httpx.AsyncClient, db: Database) -> None:
    """A key ends by itself."""
    key = await new_key(http, await bearer(http, "ada", ADA), expires_in_days=1)

    await db.execute("UPDATE api_keys SET expires_at = now() - interval '1 second'")

    assert (await http.get("/auth/verify", headers=by_key(key))).status_code == 401


async def test_key_with_the_right_id_and_another_secret_is_refused(http: httpx.AsyncClient) -> None:
    """Knowing a key's public id helps nobody, even with a right checksum."""
    from functions.kit import apikey

    key = await new_key(http, await bearer(http, "ada", ADA))
    forged = f"tpk_{key['id']}_{apikey.generate()[13:45]}"
    forged += apikey._checksum(forged)

    assert apikey.well_formed(forged)
    assert (await http.get("/auth/verify", headers=by_key({"key": forged}))).status_code == 401


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"actions": ["operate"]}, 403),
        ({"actions": ["admin"]}, 403),
        ({"actions": ["fly"]}, 400),
        ({"actions": []}, 400),
        ({"models": []}, 400),
        ({"models": ["a,b"]}, 400),
        ({"models": ["a\r\nX-Torpor-Role: admin"]}, 400),
        ({"expires_in_days": 0}, 400),
        ({"expires_in_days": 3660}, 400),
        ({"name": ""}, 400),
        ({"name": "a\0"}, 400),
    ],
    ids=str,
)
async def test_key_beyond_its_maker_or_its_bounds_is_refused(
    http: httpx.AsyncClient, fields: dict[str, Any], status: int
) -> None:
    """A user makes no key that may more than the user, and no field is out of its bounds."""
    who = await bearer(http, "ada", ADA)

    answer = await http.post("/auth/keys", json={"name": "laptop", **fields}, headers=who)

    assert answer.status_code == status


async def test_a_key_makes_no_keys(http: httpx.AsyncClient) -> None:
    """Neither an API key nor a token made from one creates a key: an expiring key could live for ever."""
    key = await new_key(http, await bearer(http), actions=["infer", "admin"])
    grant = {"grant_type": "client_credentials", "client_id": key["id"], "client_secret": key["key"]}
    derived = (await http.post("/auth/token", data=grant)).json()["access_token"]

    for who in (by_key(key), {"Authorization": f"Bearer {derived}"}):
        assert (await http.post("/auth/keys", json={"name": "child"}, headers=who)).status_code == 403


async def test_keys_of_others_are_an_admins_business(http: httpx.AsyncClient) -> None:
    """A user neither sees nor revokes another's keys, and cannot tell that they exist; an admin does both."""
    root, ada = await bearer(http), await bearer(http, "ada", ADA)
    of_root, of_ada = await new_key(http, root), await new_key(http, ada)

    assert (await http.get("/auth/keys?username=root", headers=ada)).status_code == 403
    assert (await http.delete(f"/auth/keys/{of_root['id']}", headers=ada)).status_code == 404
    assert (await http.delete("/auth/keys/a%00b", headers=ada)).status_code == 404
    listed = (await http.get("/auth/keys?username=ada", headers=root)).json()["keys"]
    assert [entry["id"] for entry in listed] == [of_ada["id"]]
    assert (await http.delete(f"/auth/keys/{of_ada['id']}", headers=root)).status_code == 204
