"""What the tests of auth start from: a database with an admin and a user, and a caller without credentials."""

import functools
from collections.abc import AsyncIterator

import httpx
import pytest

from functions.auth.passwords import Passwords
from functions.kit.db import Database
from functions.kit.settings import Secret
from tests.integration.auth.client import ADA, ROOT, app

ADD_USER = "INSERT INTO users (username, password_hash, role) VALUES ($1, $2, $3)"


@functools.cache
def hashed(password: str) -> str:
    """The password's hash, made once for all tests."""
    return Passwords().hasher.hash(password)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """The migrated database of this test, with an admin `root` and a user `ada`."""
    database = Database(Secret(database_url))
    for name, password, role in (("root", ROOT, "admin"), ("ada", ADA, "user")):
        await database.execute(ADD_USER, name, hashed(password), role)
    yield database
    await database.close()


@pytest.fixture
async def http(db: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A caller without credentials."""
    async with app(db) as client:
        yield client
