"""Applies `knative/migrations/NNNN_*.sql` in order, once each: run by the setup Job, locally by the same Job.

Forward only. Two at once are serialised by an advisory lock that ends with its transaction, so PgBouncer in
transaction mode does not matter.
"""

import logging
from pathlib import Path
from typing import Final

from functions.kit.db import Database

MIGRATIONS: Final = Path(__file__).parents[2] / "knative" / "migrations"
# Any fixed number: the name of the lock among PostgreSQL's advisory locks.
_LOCK: Final = 7_305_519
_LOG = logging.getLogger(__name__)

_ENSURE_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS schema_migrations (version INT PRIMARY KEY, name TEXT NOT NULL,
                                                  applied_at TIMESTAMPTZ NOT NULL DEFAULT now())
"""
_RECORD: Final = "INSERT INTO schema_migrations (version, name) VALUES ($1, $2)"


def available(folder: Path = MIGRATIONS) -> list[tuple[int, Path]]:
    """The migrations on disk as (version, file), in order."""
    return sorted((int(path.name.split("_", 1)[0]), path) for path in folder.glob("[0-9]*_*.sql"))


async def migrate(db: Database, folder: Path = MIGRATIONS) -> list[int]:
    """Bring the schema up to date in one transaction. Answers the versions applied now."""
    async with db.transaction() as connection:
        # A table that another transaction holds must not make every caller queue behind us.
        await connection.execute("SET LOCAL lock_timeout = '5s'")
        await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
        await connection.execute(_ENSURE_TABLE)
        done = {row["version"] for row in await connection.fetch("SELECT version FROM schema_migrations")}
        pending = [(version, path) for version, path in available(folder) if version not in done]
        for version, path in pending:
            _LOG.info("applying migration %s", path.name)
            await connection.execute(path.read_text(encoding="utf-8"))
            await connection.execute(_RECORD, version, path.name)
        return [version for version, _ in pending]
