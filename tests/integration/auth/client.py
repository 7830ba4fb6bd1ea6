"""A caller of auth: the function in this process with a database of the test, and the steps that many tests take."""

import json
from typing import Any

import httpx

from functions.auth.app import build
from functions.auth.settings import Settings
from functions.auth.signing import generate
from functions.kit.db import Database
from functions.kit.settings import Secret

ROOT = "a password of the first admin"
ADA = "a password of Ada's own"
JWKS = generate()


def app(db: Database, jwks: Any = None) -> httpx.AsyncClient:
    """A client of the function, signing with `jwks`."""
    settings = Settings(Secret("not used: the database is given"), Secret(json.dumps(jwks or JWKS)))
    return httpx.AsyncClient(transport=httpx.ASGITransport(build(settings, db)), base_url="http://auth")


async def token(http: httpx.AsyncClient, username: str, password: str) -> str:
    """A token by JSON log-in."""
    answer = await http.post("/auth/token", json={"username": username, "password": password})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


async def bearer(http: httpx.AsyncClient, username: str = "root", password: str = ROOT) -> dict[str, str]:
    """An Authorization header by log-in."""
    return {"Authorization": f"Bearer {await token(http, username, password)}"}


async def new_key(http: httpx.AsyncClient, who: dict[str, str], **fields: Any) -> dict[str, Any]:
    """An API key."""
    answer = await http.post("/auth/keys", json={"name": "laptop", **fields}, headers=who)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def by_key(key: dict[str, Any], scheme: str = "APIKEY") -> dict[str, str]:
    """An Authorization header with an API key."""
    return {"Authorization": f"{scheme} {key['key']}"}


async def lock_for(db: Database, seconds: float) -> None:
    """Move the end of every lock: a test waits for no clock."""
    await db.execute("UPDATE login_failures SET locked_until = now() + $1 * interval '1 second'", seconds)
