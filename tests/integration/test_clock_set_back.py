"""The server's clock is corrected by a day: what was written just before is past, not a day ahead."""

from collections.abc import AsyncIterator

import pytest

from functions.download.files import SQL as DOWNLOAD
from functions.download.files import FileRows
from functions.download.upkeep import STALLED_S
from functions.kit.db import Database
from functions.kit.settings import Secret
from functions.serve.reconcile import STALLED_AFTER_S
from functions.serve.records import SQL as SERVE

# A lease or a change of a moment ago, with and without the correction.
AHEAD = pytest.mark.parametrize(("ahead", "is_past"), [("1 day", True), ("15 seconds", False)])


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """One model on its way with one file, and one server that waits."""
    opened = Database(Secret(database_url))
    await opened.execute("INSERT INTO model_records (uuid, model_name, source) VALUES ('m', 'm', 'hf://o/m')")
    await opened.execute("INSERT INTO model_files (model_uuid, path, size_bytes, url) VALUES ('m', 'f', 9, 'http://h')")
    await opened.execute("INSERT INTO server_records (uuid, model_uuid, model_name) VALUES ('s', 'm', 'm')")
    yield opened
    await opened.close()


@AHEAD
async def test_a_lease_of_a_day_is_none(database: Database, *, ahead: str, is_past: bool) -> None:
    """Another worker takes the file; the one that had it notices at its next beat."""
    await database.execute("UPDATE model_files SET lease_until = now() + $1::text::interval", ahead)
    rows = FileRows(database)
    assert is_past != await rows.is_leased("m", "f")
    assert is_past == (await rows.claim("m", "f") is not None)


@AHEAD
async def test_a_file_changed_tomorrow_has_stalled(database: Database, *, ahead: str, is_past: bool) -> None:
    """The tick asks for it again."""
    await database.execute("UPDATE model_files SET lease_until = now() + $1::text::interval", ahead)
    await database.execute("UPDATE model_files SET updated_at = lease_until")
    assert is_past == (len(await database.fetch(DOWNLOAD.stalled_files, STALLED_S)) == 1)


@AHEAD
async def test_a_plan_changed_tomorrow_has_stalled(database: Database, *, ahead: str, is_past: bool) -> None:
    """Likewise the model without a plan."""
    await database.execute("DELETE FROM model_files")
    await database.execute("UPDATE model_records SET updated_at = now() + $1::text::interval", ahead)
    assert is_past == (len(await database.fetch(DOWNLOAD.stalled_plans, STALLED_S)) == 1)


@AHEAD
async def test_a_server_changed_tomorrow_has_stalled(database: Database, *, ahead: str, is_past: bool) -> None:
    """Likewise the server that nobody deploys."""
    await database.execute("UPDATE server_records SET updated_at = now() + $1::text::interval", ahead)
    assert is_past == (len(await database.fetch(SERVE.list_stalled_servers, "default", STALLED_AFTER_S)) == 1)


@AHEAD
async def test_a_model_published_tomorrow_is_served(database: Database, *, ahead: str, is_past: bool) -> None:
    """Likewise the model whose event was lost."""
    await database.execute(
        "UPDATE model_records SET status = 'available', serve = '{}', downloaded_at = now() + $1::text::interval", ahead
    )
    assert is_past == (len(await database.fetch(SERVE.list_unserved_models, STALLED_AFTER_S)) == 1)
