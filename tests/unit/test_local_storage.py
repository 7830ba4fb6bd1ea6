"""The object store's database: whatever it says while it is away is «come again», never a bug."""

from typing import Any, cast

import asyncpg
import pytest

from kn_model.local.api.errors import Unavailable
from kn_model.local.objects.storage import Change, PostgresStorage

AWAY = (
    ConnectionRefusedError,
    TimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.CrashShutdownError,
    asyncpg.AdminShutdownError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.InternalClientError,
)


class Pool:
    """Answers every wish for a connection with an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def acquire(self) -> Any:
        """Raise it."""
        raise self._error


@pytest.mark.parametrize("error", AWAY, ids=lambda error: error.__name__)
async def test_a_database_that_is_away_makes_a_write_unavailable(error: type[Exception]) -> None:
    """A refused start, a recovery, a shutdown: the caller is told to come again, so that a reconciliation is repeated."""
    storage = PostgresStorage(cast("Any", Pool(error("away"))))
    with pytest.raises(Unavailable):
        await storage.write([Change(("v1/Secret", "torpor", "one"), 1, None)])
