"""Migrations on real PostgreSQL: forward only, so that code one release older still runs on the new schema."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from functions.kit.db import Database
from functions.kit.migrate import available, migrate
from functions.kit.settings import Secret

_COLUMNS = """
    SELECT table_name || '.' || column_name AS name, data_type || '(' || coalesce(character_maximum_length, 0) || ')' AS type,
           is_nullable = 'YES' OR column_default IS NOT NULL OR is_identity = 'YES' AS optional
    FROM information_schema.columns WHERE table_schema = 'public'
"""
Schema = dict[str, tuple[str, bool]]
LATER = [pytest.param(version, id=path.name) for version, path in available()[1:]]


@pytest.fixture
async def db(empty_database: str) -> AsyncIterator[Database]:
    """A database without tables."""
    database = Database(Secret(empty_database))
    yield database
    await database.close()


async def schema_of(db: Database) -> Schema:
    """Table and column -> its type, and whether an INSERT may leave it out."""
    rows: list[Any] = await db.fetch(_COLUMNS)
    return {row["name"]: (row["type"], row["optional"]) for row in rows}


async def migrate_to(db: Database, version: int, folder: Path) -> Schema:
    """The schema after the migrations up to `version`."""
    for number, path in available():
        if number <= version:
            shutil.copy(path, folder)
    await migrate(db, folder)
    return await schema_of(db)


@pytest.mark.parametrize("version", LATER)
async def test_a_migration_only_adds(db: Database, tmp_path: Path, version: int) -> None:
    """No column goes or changes its type, and what an INSERT could leave out it still can."""
    before = await migrate_to(db, version - 1, tmp_path)
    after = await migrate_to(db, version, tmp_path)
    assert {name: after.get(name) for name in before} == before


@pytest.mark.parametrize("version", LATER)
async def test_older_code_can_still_insert(db: Database, tmp_path: Path, version: int) -> None:
    """A column that is added to a table that was there has a default or may be NULL."""
    before = await migrate_to(db, version - 1, tmp_path)
    after = await migrate_to(db, version, tmp_path)
    tables = {name.split(".")[0] for name in before}
    added = {name: optional for name, (_, optional) in after.items() if name not in before}
    assert [name for name, optional in added.items() if name.split(".")[0] in tables and not optional] == []


async def test_a_second_run_applies_nothing(db: Database) -> None:
    """Each migration is applied once."""
    assert [await migrate(db), await migrate(db)] == [[number for number, _ in available()], []]
