"""The setup Job with a real PostgreSQL: one first admin, however often, however interrupted, however many at once."""

import asyncio
import base64
import os
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from functions.auth.kept import SetupError
from functions.auth.passwords import Passwords
from functions.auth.setup import SECRET_NAME, ensure_admin
from functions.kit.db import Database
from functions.kit.kube import Kube, KubeError, path
from functions.kit.settings import Secret


class Secrets:
    """The one collection of the Kubernetes API that setup uses, with its rule: a name is taken once."""

    def __init__(self, racers: int = 1) -> None:
        """racers: so many callers learn that there is no Secret before the first of them creates one."""
        self.held: dict[str, dict[str, Any]] = {}
        self._all_asked = asyncio.Barrier(racers)

    async def get(self, resource: str) -> dict[str, Any] | None:
        """The Secret, or None."""
        found = self.held.get(resource)
        if found is None:
            await self._all_asked.wait()
        return found

    async def create(self, collection: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Keep it, or answer AlreadyExists."""
        resource = f"{collection}/{body['metadata']['name']}"
        if resource in self.held:
            raise KubeError(409, "AlreadyExists", f'secrets "{body["metadata"]["name"]}" already exists')
        self.held[resource] = dict(body)
        return dict(body)

    def password(self) -> str:
        """What the one Secret says."""
        (secret,) = self.held.values()
        return base64.b64decode(secret["data"]["password"]).decode()


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """A migrated database without users."""
    database = Database(Secret(database_url))
    yield database
    await database.close()


def by_hand(**data: str) -> Secrets:
    """A store where an operator has made the Secret."""
    store = Secrets()
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}
    store.held[f"/api/v1/namespaces/torpor/secrets/{SECRET_NAME}"] = {"data": encoded}
    return store


async def logs_in(db: Database, username: str, password: str) -> bool:
    """Whether the user exists with this password, as an admin."""
    row = await db.fetchrow("SELECT password_hash, role FROM users WHERE username = $1", username)
    with Passwords().turn() as turn:
        return row["role"] == "admin" and await turn.matches(password, row["password_hash"])


async def test_first_admin_has_the_secrets_password(db: Database) -> None:
    """A fresh installation gets one admin with a long generated password, kept in the Secret alone."""
    store = Secrets()

    assert await ensure_admin(db, store, "torpor", Passwords())

    assert len(store.password()) >= 24
    assert await logs_in(db, "admin", store.password())


async def test_two_setups_at_once_make_one_admin(db: Database) -> None:
    """A23: both end well, one inserts, and the password that the Secret shows is the one that works."""
    store = Secrets(racers=4)

    inserted = await asyncio.gather(*(ensure_admin(db, store, "torpor", Passwords()) for _ in range(4)))

    assert sorted(inserted) == [False, False, False, True]
    assert await db.fetchval("SELECT count(*) FROM users") == 1
    assert await logs_in(db, "admin", store.password())


async def test_setup_again_changes_nothing(db: Database) -> None:
    """The second run finds an admin, and does not ask for a Secret that somebody may have deleted since."""
    await ensure_admin(db, Secrets(), "torpor", Passwords())
    empty = Secrets()

    assert not await ensure_admin(db, empty, "torpor", Passwords())
    assert empty.held == {}


async def test_setup_that_died_after_the_secret_is_finished_by_the_next(db: Database) -> None:
    """A Secret without a user is what a crash leaves: its password becomes the admin's."""
    store = by_hand(username="boss", password="chosen by the operator")

    assert await ensure_admin(db, store, "torpor", Passwords())
    assert await logs_in(db, "boss", "chosen by the operator")


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"username": "admin"},
        {"username": "admin", "password": "short"},
        {"username": "a b", "password": "long enough"},
    ],
    ids=["empty", "no password", "short password", "bad name"],
)
async def test_unusable_secret_is_named(db: Database, data: dict[str, str]) -> None:
    """A Secret that somebody made wrongly is refused by name, and its password is not repeated."""
    with pytest.raises(SetupError, match=SECRET_NAME) as refused:
        await ensure_admin(db, by_hand(**data), "torpor", Passwords())

    assert data.get("password", "\0") not in str(refused.value)
    assert await db.fetchval("SELECT count(*) FROM users") == 0


async def test_user_of_that_name_who_is_no_admin_is_said(db: Database) -> None:
    """An ordinary user named admin is not made one; setup says what to do."""
    await db.execute("INSERT INTO users (username, password_hash, role) VALUES ('admin', 'x', 'user')")

    with pytest.raises(SetupError, match="is no admin"):
        await ensure_admin(db, Secrets(), "torpor", Passwords())


@pytest.fixture
async def kube_url() -> AsyncIterator[str]:
    """The address of an HTTP server that holds Secrets."""
    from aiohttp import web

    store = Secrets()

    async def get(request: web.Request) -> web.Response:
        held = await store.get(request.path)
        return web.json_response(held or {"reason": "NotFound"}, status=200 if held else 404)

    async def create(request: web.Request) -> web.Response:
        try:
            return web.json_response(await store.create(request.path, await request.json()), status=201)
        except KubeError as error:
            return web.json_response({"reason": error.reason, "message": error.message}, status=error.status)

    app = web.Application()
    app.add_routes([web.get("/{path:.*}", get), web.post("/{path:.*}", create)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield site.name
    await runner.cleanup()


async def run_setup(**environ: str) -> tuple[int, str]:
    """The Job's command as a process: its exit status, and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "functions.auth.setup",
        env={**os.environ, **environ}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_job_twice_at_once_on_an_empty_database(empty_database: str, kube_url: str) -> None:
    """Two Jobs migrate and make the admin together; each says where the password is, neither says what it is."""
    environ = {"TORPOR_DATABASE_URL": empty_database, "TORPOR_KUBE_URL": kube_url}

    outcomes = await asyncio.gather(*(run_setup(**environ) for _ in range(2)))

    db = Database(Secret(empty_database))
    kube = Kube(kube_url)
    secret = await kube.get(path("v1", "secrets", "torpor", SECRET_NAME)) or {}
    password = base64.b64decode(secret["data"]["password"]).decode()
    assert [status for status, _ in outcomes] == [0, 0], outcomes
    assert await logs_in(db, "admin", password)
    for _, output in outcomes:
        assert "kubectl --namespace torpor get secret torpor-admin" in output
        assert password not in output
        assert secret["data"]["password"] not in output
        assert "Unclosed" not in output
    await kube.close()
    await db.close()


async def test_job_without_its_database_says_so() -> None:
    """Exit status 1 and one line with the cause, no traceback, and no password of the address."""
    status, output = await run_setup(
        TORPOR_DATABASE_URL="postgresql://u:hidden@127.0.0.1:1/x", TORPOR_KUBE_URL="http://x"
    )

    assert status == 1
    assert output.startswith("setup: PostgreSQL does not answer")
    assert "hidden" not in output
    assert "Traceback" not in output
