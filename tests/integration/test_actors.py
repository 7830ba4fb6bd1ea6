"""Who asked for something is looked at again when it is done: in queues and dead letters, days can lie between."""

from collections.abc import AsyncIterator

import pytest

from functions.kit import actors
from functions.kit.db import Database
from functions.kit.settings import Secret
from tests.integration.users import add_user


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """The test's own database, with a user of each role."""
    opened = Database(Secret(database_url))
    for role in ("admin", "operator", "user"):
        await add_user(opened, f"a-{role}", role)
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("actor", "said"),
    [
        ("a-admin", ""),
        ("a-operator", ""),
        ("", ""),
        ("a-user", "is now a user and may not operate"),
        ("A-OPERATOR", "is no longer a user"),
        ("a-operator ", "is no longer a user"),
        ("' OR true --", "is no longer a user"),
        ("x" * 100_000, "is no longer a user"),
    ],
)
async def test_who_may_still_ask(db: Database, actor: str, said: str) -> None:
    """Users who may operate now, and upkeep, which nobody asks for; others are told why and what to do."""
    refusal = await actors.refusal(db, actor)
    assert bool(said) == bool(refusal)
    assert said in (refusal or "")
