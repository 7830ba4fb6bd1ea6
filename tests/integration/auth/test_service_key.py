"""serve's own API key with a real PostgreSQL: one, however often and however many at once, and replaced when it is to be."""

import asyncio
import base64
from collections.abc import AsyncIterator

import pytest

from functions.auth.kept import SetupError
from functions.auth.keys import ApiKeys
from functions.auth.passwords import Passwords
from functions.auth.service_key import ENTRY, SECRET_NAME, USERNAME, ensure_service_key
from functions.kit.db import Database
from functions.kit.settings import Secret
from tests.integration.auth.test_setup import Secrets

RESOURCE = f"/api/v1/namespaces/torpor/secrets/{SECRET_NAME}"


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """A migrated database without users."""
    database = Database(Secret(database_url))
    yield database
    await database.close()


def key_in(store: Secrets) -> str:
    """The key that the Secret says."""
    return base64.b64decode(store.held[RESOURCE]["data"][ENTRY]).decode()


async def test_the_key_may_ask_in_somebodys_name(db: Database) -> None:
    """The Secret's key stands for a user of its own, for all models, and may do two things."""
    store = Secrets()

    await ensure_service_key(db, store, "torpor", Passwords())

    identity = await ApiKeys(db).identity(key_in(store))
    assert identity is not None
    assert (identity.subject, identity.models, identity.actions) == (USERNAME, ("*",), ("infer", "delegate"))


async def test_several_at_once_make_one_key(db: Database) -> None:
    """Whoever creates the Secret first decides; the others use that key."""
    store = Secrets(racers=3)

    await asyncio.gather(*(ensure_service_key(db, store, "torpor", Passwords()) for _ in range(3)))

    assert await db.fetchval("SELECT count(*) FROM api_keys") == 1
    assert await ApiKeys(db).identity(key_in(store)) is not None


async def test_again_changes_nothing(db: Database) -> None:
    """The next release finds everything as it is."""
    store = Secrets()
    await ensure_service_key(db, store, "torpor", Passwords())
    before = await db.fetch("SELECT * FROM api_keys")

    await ensure_service_key(db, store, "torpor", Passwords())

    assert await db.fetch("SELECT * FROM api_keys") == before


async def test_a_deleted_secret_gives_a_new_key(db: Database) -> None:
    """The old key is worth nothing from then on."""
    old, new = Secrets(), Secrets()
    await ensure_service_key(db, old, "torpor", Passwords())

    await ensure_service_key(db, new, "torpor", Passwords())

    assert await ApiKeys(db).identity(key_in(old)) is None
    assert await ApiKeys(db).identity(key_in(new)) is not None


async def test_a_revoked_key_stays_revoked(db: Database) -> None:
    """An administrator who revoked it had a reason: setup says what to do instead."""
    store = Secrets()
    await ensure_service_key(db, store, "torpor", Passwords())
    await db.execute("UPDATE api_keys SET revoked_at = now()")

    with pytest.raises(SetupError, match="is revoked; delete the Secret"):
        await ensure_service_key(db, store, "torpor", Passwords())


async def test_somebody_of_that_name_is_not_made_a_service(db: Database) -> None:
    """A person's user keeps its role, and setup says so."""
    await db.execute("INSERT INTO users (username, password_hash, role) VALUES ($1, 'x', 'admin')", USERNAME)

    with pytest.raises(SetupError, match="somebody else's"):
        await ensure_service_key(db, Secrets(), "torpor", Passwords())


@pytest.mark.parametrize("data", [{}, {ENTRY: "dHBrXzA="}, {ENTRY: "%%%"}], ids=["empty", "no key", "no text"])
async def test_a_secret_without_a_key_is_named(db: Database, data: dict[str, str]) -> None:
    """What somebody made wrongly is refused by name."""
    store = Secrets()
    store.held[RESOURCE] = {"data": data}

    with pytest.raises(SetupError, match=SECRET_NAME):
        await ensure_service_key(db, store, "torpor", Passwords())
