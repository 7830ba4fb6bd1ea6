"""The ledger of blobs: who fills a digest, what is stored, and the last step of a file, from its upload to its blob.

Single flight: of several files with the same promised digest one is transferred, by the holder of the blob's row; the
others wait without a worker and are asked for again when it is stored, or when the holder gives up.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final

from functions.download import layout
from functions.download.blobs import copying
from functions.download.files import FileRow
from functions.download.manifest import StoredFile
from functions.download.problems import SourceChanged
from functions.kit.bus import Unit
from functions.kit.db import Database, queries
from functions.kit.events import FileRequested
from functions.kit.objects import S3Objects

SQL: Final = queries(str(Path(__file__)))
# A holder begins a slice about every 20 s; one that has not for this long has lost its events or its source.
HOLD_S: Final = 300.0


class Hold(Enum):
    """What stands between a file and its blob."""

    OURS = auto()  # nobody fills it but this file
    STORED = auto()  # nothing is to be done
    BUSY = auto()  # another file fills it


@dataclass(frozen=True, slots=True)
class Missing:
    """Files of a model that were verified, and whose objects are no longer what they were."""

    paths: Sequence[str]


class Shelf:
    """Blobs as slices, plans and the publisher see them."""

    def __init__(self, db: Database, objects: S3Objects) -> None:
        self._db = db
        self._objects = objects
        self.bucket = objects.bucket

    async def take(self, file: FileRow) -> Hold:
        """Begin, or go on, to fill the file's blob. A file whose digest nobody has promised yet has none to fill."""
        if not file.sha256:
            return Hold.OURS
        if await self._db.fetchval(SQL.hold_blob, file.sha256, file.size, file.model_uuid, file.path, HOLD_S):
            return Hold.OURS
        found = await self._db.fetchrow(SQL.find_blob, file.sha256)
        # A promise of other bytes under the same digest is a lie: it is fetched, and fails when it is verified.
        stored = found is not None and found["state"] == "stored"
        return Hold.STORED if stored and found["size_bytes"] == file.size else Hold.OURS if stored else Hold.BUSY

    async def holder_of(self, file: FileRow) -> str:
        """The name of the model that fills the file's blob, for people."""
        found = await self._db.fetchrow(SQL.find_blob, file.sha256)
        return (found["holder"] if found is not None else None) or "another model"

    async def keep(self, file: FileRow, deadline: float) -> Hold | None:
        """Bring verified bytes to their blob's key, where they are not already; None: not done at `deadline`.

        Raises Retry, SourceChanged when what was verified is no longer there.
        """
        digest = _known(file)
        if file.key == layout.blob_key(digest):
            return Hold.OURS
        hold = await self.take(file)
        if hold is Hold.OURS:
            done = await copying.copy(self._objects, file.key, layout.blob_key(digest), file.size, deadline)
            return hold if done else None
        return hold

    async def etag(self, file: FileRow) -> str:
        """The ETag of the file's blob as S3 has it now. Raises SourceChanged when it is not there with its size."""
        held = await self._objects.head(layout.blob_key(_known(file)))
        if held is None or held.size != file.size:
            raise SourceChanged("S3 does not hold what was just stored")
        return held.etag

    async def record(self, unit: Unit, file: FileRow, etag: str) -> None:
        """The blob is there, as of the transaction's commit; whoever waited for it is asked for again."""
        await unit.connection.execute(SQL.store_blob, file.sha256, file.size, etag)
        await _wake(unit, [_known(file)], file.model_uuid, file.path)

    async def is_stored(self, unit: Unit, file: FileRow) -> bool:
        """Whether the blob is stored, and stays so until the transaction's end."""
        return bool(await unit.connection.fetch(SQL.stored_blobs, [file.sha256]))

    async def forget_staging(self, file: FileRow) -> None:
        """The file's own copy has become a blob."""
        if not layout.is_blob(file.key):
            await self._objects.delete([file.key])

    async def place(self, model_uuid: str, rows: Sequence[Mapping[str, Any]]) -> Sequence[StoredFile] | Missing:
        """The verified files of a model with the keys of their objects, each looked at in S3; or those that are gone."""
        digests = [row["sha256"] for row in rows]
        stored = {row["digest"]: row for row in await self._db.fetch(SQL.find_blobs, digests)}
        keys = await asyncio.gather(*(self._find(model_uuid, row, stored.get(row["sha256"])) for row in rows))
        gone = [row["path"] for row, key in zip(rows, keys, strict=True) if key is None]
        if gone:
            return Missing(gone)
        return [
            StoredFile(row["path"], row["size_bytes"], row["sha256"], key or "")
            for row, key in zip(rows, keys, strict=True)
        ]

    async def _find(self, model_uuid: str, row: Mapping[str, Any], blob: Mapping[str, Any] | None) -> str | None:
        key = layout.blob_key(row["sha256"]) if blob is not None else layout.legacy_key(model_uuid, row["path"])
        held = await self._objects.head(key)
        same = held is not None and held.size == row["size_bytes"] and (blob is None or held.etag == blob["etag"])
        if blob is not None and not same:
            await self._db.execute(SQL.lose_blob, row["sha256"])
        return key if same else None


async def let_go(unit: Unit, model_uuid: str, path: str | None = None) -> None:
    """The file, or every file of the model, fills nothing for now; somebody else may."""
    freed = [row["digest"] for row in await unit.connection.fetch(SQL.let_go, model_uuid, path)]
    if freed:
        await _wake(unit, freed, model_uuid, path or "")


async def _wake(unit: Unit, digests: Sequence[str], model_uuid: str, path: str) -> None:
    for row in await unit.connection.fetch(SQL.waiting_files, list(digests), model_uuid, path):
        unit.emit(FileRequested(row["model_uuid"], row["path"], 0))


def _known(file: FileRow) -> str:
    if not file.sha256:
        raise RuntimeError(f"{file.path} has not been verified")
    return file.sha256
