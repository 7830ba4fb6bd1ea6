"""Users over HTTP with a real PostgreSQL: admins manage them, and what taking a role away stops."""

import asyncio

import httpx
import pytest

from functions.auth.users import SQL
from functions.kit.db import Database
from tests.integration.auth.client import ADA, bearer, by_key, new_key


async def test_admin_manages_users(http: httpx.AsyncClient) -> None:
    """Create, show, list in pages, change, delete; no answer has a hash."""
    admin = await bearer(http)

    created = await http.post("/auth/users", json={"username": "Bob", "password": "bob's password"}, headers=admin)
    shown = await http.get(created.headers["location"], headers=admin)
    first = await http.get("/auth/users?limit=2", headers=admin)
    rest = await http.get(f"/auth/users?limit=2&cursor={first.json()['next_cursor']}", headers=admin)
    changed = await http.patch("/auth/users/bob", json={"role": "operator"}, headers=admin)
    deleted = await http.delete("/auth/users/bob", headers=admin)
    gone = await http.get("/auth/users/bob", headers=admin)

    assert (created.status_code, created.json()["username"], created.json()["role"]) == (201, "bob", "user")
    assert shown.json() == created.json()
    assert [user["username"] for user in first.json()["users"]] == ["ada", "bob"]
    assert ([user["username"] for user in rest.json()["users"]], rest.json()["next_cursor"]) == (["root"], None)
    assert changed.json()["role"] == "operator"
    assert (deleted.status_code, gone.status_code) == (204, 404)
    assert all("argon2" not in answer.text for answer in (created, shown, first, changed))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/auth/users"),
        ("GET", "/auth/users"),
        ("GET", "/auth/users/root"),
        ("PATCH", "/auth/users/root"),
        ("DELETE", "/auth/users/root"),
    ],
)
async def test_users_are_for_admins_alone(http: httpx.AsyncClient, method: str, path: str) -> None:
    """Without a credential 401, with a user's 403, whatever the body."""
    who = await bearer(http, "ada", ADA)

    assert (await http.request(method, path)).status_code == 401
    assert (await http.request(method, path, headers=who)).status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"username": "ada", "password": "long enough"}, 409),
        ({"username": "bob", "password": "short"}, 400),
        ({"username": "bob, root", "password": "long enough"}, 400),
        ({"username": "", "password": "long enough"}, 400),
        ({"username": "bob", "password": "long enough", "role": "root"}, 400),
    ],
)
async def test_bad_users_are_refused(http: httpx.AsyncClient, body: dict[str, str], status: int) -> None:
    """A taken name, a short password, a name that no header could carry, an unknown role."""
    answer = await http.post("/auth/users", json=body, headers=await bearer(http))

    assert answer.status_code == status


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=99999999999999999999", "cursor='"])
async def test_bad_pages_are_refused(http: httpx.AsyncClient, query: str) -> None:
    """Garbage in a page's parameters is a 400."""
    assert (await http.get(f"/auth/users?{query}", headers=await bearer(http))).status_code == 400


async def test_last_admin_stays(http: httpx.AsyncClient) -> None:
    """The last admin is neither deleted nor demoted."""
    admin = await bearer(http)

    deleted = await http.delete("/auth/users/root", headers=admin)
    demoted = await http.patch("/auth/users/root", json={"role": "user"}, headers=admin)

    assert (deleted.status_code, demoted.status_code) == (409, 409)


async def test_two_admins_cannot_remove_each_other_at_once(http: httpx.AsyncClient, db: Database) -> None:
    """A removal waits for another one that is not committed yet, and then finds the last admin."""
    admin = await bearer(http)
    await http.patch("/auth/users/ada", json={"role": "admin"}, headers=admin)

    async with db.transaction() as other:
        await other.fetch(SQL.lock_admins)
        await other.fetchval(SQL.delete_user, "ada")
        removal = asyncio.create_task(http.delete("/auth/users/root", headers=admin))
        # Without the lock it would be done long before; with it, it only goes on after the commit.
        await asyncio.wait({removal}, timeout=0.5)

    assert (await removal).status_code == 409


async def test_deleted_users_keys_stop_at_once(http: httpx.AsyncClient) -> None:
    """A22: the keys are refused from the next request on; a token still verifies until it ends, but not at auth's routes."""
    admin, ada = await bearer(http), await bearer(http, "ada", ADA)
    key = await new_key(http, ada)

    await http.delete("/auth/users/ada", headers=admin)

    assert (await http.get("/auth/verify", headers=by_key(key))).status_code == 401
    assert (await http.get("/auth/keys", headers=ada)).status_code == 401
    assert (await http.get("/auth/verify", headers=ada)).status_code == 200


async def test_demoted_admin_manages_nothing_more(http: httpx.AsyncClient) -> None:
    """A22: an admin's older token or key makes no user and no wide key once the role is gone."""
    root = await bearer(http)
    await http.patch("/auth/users/ada", json={"role": "admin"}, headers=root)
    ada = await bearer(http, "ada", ADA)
    key = await new_key(http, ada, actions=["infer", "admin"])

    await http.patch("/auth/users/ada", json={"role": "user"}, headers=root)

    assert (await http.get("/auth/users", headers=ada)).status_code == 403
    assert (await http.get("/auth/users", headers=by_key(key))).status_code == 403
    assert (await http.post("/auth/keys", json={"name": "k", "actions": ["admin"]}, headers=ada)).status_code == 403
    assert (await http.get("/auth/verify", headers=by_key(key))).headers["x-torpor-actions"] == "infer"
