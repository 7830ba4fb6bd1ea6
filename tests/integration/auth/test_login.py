"""Logging in over HTTP with a real PostgreSQL: JSON and OAuth2 forms, the same answer for every mistake, locks."""

import asyncio
import base64

import httpx
import pytest

from functions.kit.db import Database
from tests.integration.auth.client import ADA, bearer, by_key, lock_for, new_key, token


async def test_json_login_gives_a_token_that_verifies(http: httpx.AsyncClient) -> None:
    """A password in JSON becomes a bearer token of an hour, never cached, and the token says who it is."""
    answer = await http.post("/auth/token", json={"username": "ada", "password": ADA})
    who = {"Authorization": f"Bearer {answer.json()['access_token']}"}

    verdict = await http.get("/auth/verify", headers=who)

    assert answer.headers["cache-control"] == "no-store"
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("Bearer", 3600)
    assert verdict.status_code == 200
    assert {name: verdict.json()[name] for name in ("subject", "role", "key_id", "models", "actions")} == {
        "subject": "ada",
        "role": "user",
        "key_id": None,
        "models": ["*"],
        "actions": ["infer", "read"],
    }


async def test_password_form_gives_a_token(http: httpx.AsyncClient) -> None:
    """OAuth2's password grant works with an ordinary form."""
    answer = await http.post("/auth/token", data={"grant_type": "password", "username": "ada", "password": ADA})

    assert (answer.status_code, answer.json()["token_type"]) == (200, "Bearer")


@pytest.mark.parametrize("basic", [False, True], ids=["in the form", "as HTTP Basic"])
async def test_client_credentials_give_a_token_no_wider_than_the_key(http: httpx.AsyncClient, *, basic: bool) -> None:
    """An API key becomes a token with the key's id, models and actions."""
    key = await new_key(http, await bearer(http, "ada", ADA), models=["smol"], actions=["infer"])
    grant = {"grant_type": "client_credentials"}
    encoded = base64.b64encode(f"{key['id']}:{key['key']}".encode()).decode()
    in_form = {} if basic else {"client_id": key["id"], "client_secret": key["key"]}
    in_header = {"Authorization": f"Basic {encoded}"} if basic else {}

    answer = await http.post("/auth/token", data=grant | in_form, headers=in_header)
    verdict = await http.get("/auth/verify", headers={"Authorization": f"Bearer {answer.json()['access_token']}"})

    assert verdict.headers["x-torpor-key-id"] == key["id"]
    assert (verdict.headers["x-torpor-models"], verdict.headers["x-torpor-actions"]) == ("smol", "infer")


async def test_wrong_password_and_unknown_user_are_the_same_answer(http: httpx.AsyncClient) -> None:
    """A17: nobody learns from the answer whether a name exists."""
    wrong = await http.post("/auth/token", json={"username": "ada", "password": "not Ada's password"})
    unknown = await http.post("/auth/token", json={"username": "nobody", "password": "not Ada's password"})

    assert wrong.status_code == unknown.status_code == 401
    assert wrong.content == unknown.content
    assert wrong.headers["www-authenticate"] == unknown.headers["www-authenticate"]


async def test_form_errors_have_oauth2s_shape(http: httpx.AsyncClient) -> None:
    """RFC 6749 section 5.2: an error code, 400 for a wrong password and 401 with a challenge for a wrong client."""
    password = await http.post(
        "/auth/token", data={"grant_type": "password", "username": "ada", "password": "wrong!!!"}
    )
    client = await http.post(
        "/auth/token", data={"grant_type": "client_credentials", "client_id": "x", "client_secret": "y"}
    )

    assert (password.status_code, password.json()["error"]) == (400, "invalid_grant")
    assert (client.status_code, client.json()["error"]) == (401, "invalid_client")
    assert client.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.parametrize("known", ["ada", "nobody"])
async def test_wrong_passwords_lock_the_name_for_a_while(http: httpx.AsyncClient, db: Database, known: str) -> None:
    """A18: after a few wrong passwords the name, real or not, gets 429 with Retry-After; the right password waits too."""
    right = {"username": known, "password": ADA}
    wrong = [await http.post("/auth/token", json={"username": known, "password": "wrong"}) for _ in range(5)]

    assert [answer.status_code for answer in wrong] == [401] * 5
    assert await db.fetchval("SELECT extract(epoch FROM locked_until - updated_at) >= 1 FROM login_failures")
    await lock_for(db, 100)
    locked = await http.post("/auth/token", json=right)
    assert (locked.status_code, 90 <= int(locked.headers["retry-after"]) <= 100) == (429, True)
    await lock_for(db, -1)
    assert (await http.post("/auth/token", json=right)).status_code == (200 if known == "ada" else 401)


async def test_form_says_locked_in_oauth2s_shape(http: httpx.AsyncClient, db: Database) -> None:
    """A locked name gets 429 and Retry-After in the form's own shape too."""
    form = {"grant_type": "password", "username": "ada", "password": "wrong!!!"}
    await http.post("/auth/token", data=form)
    await lock_for(db, 100)

    locked = await http.post("/auth/token", data=form)

    assert (locked.status_code, locked.json()["error"]) == (429, "temporarily_unavailable")
    assert "retry-after" in locked.headers


async def test_the_right_password_ends_the_count(http: httpx.AsyncClient) -> None:
    """Four mistakes, a success, four mistakes: never locked."""
    for _ in range(2):
        for _ in range(4):
            await http.post("/auth/token", json={"username": "ada", "password": "wrong"})
        await token(http, "ada", ADA)


async def test_guesses_in_parallel_are_counted_before_they_are_checked(http: httpx.AsyncClient) -> None:
    """A18: of sixty guesses at once a handful is looked at: the free ones, and few more if the first lock ends meanwhile."""
    guesses = [http.post("/auth/token", json={"username": "ada", "password": f"guess {n}"}) for n in range(60)]

    statuses = [answer.status_code for answer in await asyncio.gather(*guesses)]

    assert statuses.count(401) <= 8
    assert set(statuses) == {401, 429}


async def test_a_new_password_lifts_the_lock(http: httpx.AsyncClient, db: Database) -> None:
    """A18: an admin lets the owner in again at once."""
    admin = await bearer(http)
    await http.post("/auth/token", json={"username": "ada", "password": "wrong"})
    await lock_for(db, 100)

    await http.patch("/auth/users/ada", json={"password": "another password"}, headers=admin)

    assert await token(http, "ada", "another password")


async def test_old_hash_is_made_anew_at_log_in(http: httpx.AsyncClient, db: Database) -> None:
    """A hash with weaker parameters is replaced when its owner next logs in, and still matches."""
    import argon2

    weak = argon2.PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(ADA)
    await db.execute("UPDATE users SET password_hash = $1 WHERE username = 'ada'", weak)

    await token(http, "ada", ADA)

    stored = await db.fetchval("SELECT password_hash FROM users WHERE username = 'ada'")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await token(http, "ADA", ADA)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"username": "ada", "password": "x" * 2000}, 400),
        ({"username": "a\0da", "password": ADA}, 401),
        ({"username": "ada"}, 400),
        ({"username": "ada", "password": ADA, "role": "admin"}, 400),
        ({"username": "ada", "password": "x" * 100_000}, 413),
    ],
    ids=["password too long", "NUL in the name", "no password", "unknown field", "body too large"],
)
async def test_odd_log_ins_are_refused(http: httpx.AsyncClient, body: dict[str, str], status: int) -> None:
    """A19: odd input is a 4xx, never an error of ours, and never truncated into a right password."""
    answer = await http.post("/auth/token", json=body)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_other_content_is_refused(http: httpx.AsyncClient) -> None:
    """A body of a third kind is 415 and names the two that work."""
    answer = await http.post("/auth/token", content=b"<x/>", headers={"Content-Type": "text/xml"})

    assert answer.status_code == 415


async def test_no_secret_reaches_the_log(http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    """A24: a log-in, a wrong one and a new key leave no password, token or key in any line."""
    caplog.set_level("DEBUG")
    who = await bearer(http, "ada", ADA)
    key = await new_key(http, who)
    await http.post("/auth/token", json={"username": "ada", "password": "wrong-password"})
    await http.get("/auth/verify", headers=by_key(key))

    for secret in (ADA, "wrong-password", key["key"], who["Authorization"].removeprefix("Bearer ")):
        assert secret not in caplog.text
    assert "POST /auth/token" in caplog.text
