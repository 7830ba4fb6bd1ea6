"""auth over HTTP with a real PostgreSQL: log-ins, tokens, API keys, users and the verify endpoint, as callers see them."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from functions.auth.app import build
from functions.auth.passwords import Passwords
from functions.auth.settings import Settings
from functions.auth.signing import SigningKeys, generate
from functions.auth.tokens import Issuer
from functions.auth.users import SQL
from functions.kit.db import Database
from functions.kit.identity import Identity
from functions.kit.settings import Secret

ROOT = "a password of the first admin"
ADA = "a password of Ada's own"
JWKS = generate()
ADD_USER = "INSERT INTO users (username, password_hash, role) VALUES ($1, $2, $3)"


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """The migrated database of this test, with an admin `root` and a user `ada`."""
    database = Database(Secret(database_url))
    with Passwords().turn() as turn:
        for name, password, role in (("root", ROOT, "admin"), ("ada", ADA, "user")):
            await database.execute(ADD_USER, name, await turn.hash(password), role)
    yield database
    await database.close()


def app(db: Database, jwks: Any = None) -> httpx.AsyncClient:
    """A client of the function, signing with `jwks`."""
    settings = Settings(Secret("not used: the database is given"), Secret(json.dumps(jwks or JWKS)))
    return httpx.AsyncClient(transport=httpx.ASGITransport(build(settings, db)), base_url="http://auth")


@pytest.fixture
async def http(db: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A caller without credentials."""
    async with app(db) as client:
        yield client


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


# --- log-in


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


async def lock_for(db: Database, seconds: float) -> None:
    """Move the end of every lock: a test waits for no clock."""
    await db.execute("UPDATE login_failures SET locked_until = now() + $1 * interval '1 second'", seconds)


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


# --- verify


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


# --- API keys


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


# --- users


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
