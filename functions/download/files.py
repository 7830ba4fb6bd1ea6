"""The rows of files as values: claiming one, keeping its lease while bytes move, and leaving it in a true state."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from functions.download import layout
from functions.download.problems import LeaseLost
from functions.download.states import FILE, FileCause
from functions.kit.db import Database, queries

SQL: Final = queries(str(Path(__file__)))
# A worker that died is replaced after this; a living one renews ten times as often.
LEASE_S: Final = 20.0


@dataclass(slots=True)
class FileRow:
    """A claimed file: what is to be fetched, and how far it is. lease is the lease_until that this worker holds."""

    model_uuid: str
    path: str
    size: int
    sha256: str | None
    git_oid: str | None
    url: str
    etag: str
    bytes_done: int
    upload_id: str | None
    hash_state: bytes | None
    attempts: int
    restarts: int
    lease: datetime
    hf_name: str | None
    revision: str
    source: str
    rate_bps: float = 0.0
    # One beat at a time: each knows the lease by what the one before was answered.
    beating: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    # Where its bytes go; see layout.upload_key.
    key: str = field(init=False)

    def __post_init__(self) -> None:
        """The key does not change when the digest becomes known: the upload is where it began."""
        self.key = layout.upload_key(self)


class FileRows:
    """Claim, beat, release: the life of one slice in PostgreSQL. Raises Retry when it does not answer."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def claim(self, model_uuid: str, path: str) -> FileRow | None:
        """The file, leased to the caller; None when it is leased already, finished or no longer wanted."""
        allowed, after = FILE.allowing(FileCause.CLAIMED), FILE.target(FileCause.CLAIMED)
        row = await self._db.fetchrow(SQL.claim_file, model_uuid, path, allowed, after, LEASE_S)
        return _file(row) if row is not None else None

    async def is_leased(self, model_uuid: str, path: str) -> bool:
        """Whether another worker holds the file now."""
        return bool(await self._db.fetchval(SQL.is_leased, model_uuid, path))

    async def exists(self, file: FileRow) -> bool:
        """Whether the row is still there: it goes with the objects of a deleted model."""
        return await self._db.fetchval(SQL.is_leased, file.model_uuid, file.path) is not None

    async def owns_upload(self, file: FileRow) -> bool:
        """Whether the file's row still names this upload and a living worker may be using it."""
        return bool(await self._db.fetchval(SQL.live_upload, file.model_uuid, file.path, file.upload_id))

    async def beat(self, file: FileRow) -> None:
        """Store the progress and renew the lease. Raises LeaseLost when the file is no longer the caller's."""
        async with file.beating:
            lease = await self._db.fetchval(
                SQL.beat_file, file.model_uuid, file.path, file.lease, file.bytes_done, file.rate_bps, file.upload_id,
                file.etag, LEASE_S,
            )  # fmt: skip
            if lease is None:
                raise LeaseLost(FileCause.CLAIMED)
            file.lease = lease

    async def advance(self, file: FileRow, before: bytes | None, after: bytes) -> bool:
        """Keep the digest's state; False when it is no longer at `before`, since somebody else carried it on."""
        row = (file.model_uuid, file.path, file.upload_id, before, after)
        return await self._db.fetchval(SQL.advance_digest, *row) is not None

    async def digest(self, file: FileRow) -> bytes | None:
        """The digest's state as it is kept. Raises LeaseLost when the file's upload is another one by now."""
        row = await self._db.fetchrow(SQL.digest_of_upload, file.model_uuid, file.path, file.upload_id)
        if row is None:
            raise LeaseLost(FileCause.CLAIMED)
        state: bytes | None = row["hash_state"]
        return state

    async def shared(self, model_uuid: str, path: str) -> FileRow | None:
        """A file whose transfer another worker leads; None when nobody does."""
        row = await self._db.fetchrow(SQL.shared_file, model_uuid, path)
        return _file(row) if row is not None else None

    async def lease_stretch(self, file: FileRow, between: tuple[int, int], holder: str) -> int | None:
        """Lease the first stretch `between` both numbers that nobody has; None when there is none."""
        upload = (file.model_uuid, file.path, file.upload_id)
        while (row := await self._db.fetchrow(SQL.lease_stretch, *upload, *between, holder, LEASE_S)) is not None:
            if row["taken"]:
                return int(row["number"])
        return None

    async def renew_stretches(self, holder: str) -> None:
        """The worker that has them lives."""
        await self._db.execute(SQL.renew_stretches, holder, LEASE_S)

    async def free_stretches(self, holder: str) -> None:
        """Let others have what is not finished."""
        await self._db.execute(SQL.free_stretches, holder)

    async def release(
        self, file: FileRow, cause: FileCause = FileCause.CLAIMED, error: str | None = None, on: Any = None
    ) -> None:
        """Give the lease back, inside the transaction `on` when there is one. Raises LeaseLost."""
        execute = on.fetchval if on is not None else self._db.fetchval
        path = await execute(
            SQL.release_file, file.model_uuid, file.path, file.lease, FILE.target(cause), file.bytes_done,
            0.0 if error else file.rate_bps, file.hash_state is not None, file.upload_id, file.etag, file.attempts, error,
            file.restarts,
        )  # fmt: skip
        if path is None:
            raise LeaseLost(cause)


def _file(row: Any) -> FileRow:
    return FileRow(
        model_uuid=row["model_uuid"],
        path=row["path"],
        size=row["size_bytes"],
        sha256=row["sha256"],
        git_oid=row["git_oid"],
        url=row["url"],
        etag=row["etag"] or "",
        bytes_done=row["bytes_done"],
        upload_id=row["upload_id"],
        hash_state=row["hash_state"],
        attempts=row["attempts"],
        restarts=row["restarts"],
        lease=row["lease_until"],
        hf_name=row["hf_name"],
        revision=row["revision"] or "",
        source=row["source"],
    )
