"""What ended models leave in S3: unfinished uploads, objects of deleted models. Idempotent; the tick repeats it.

S3 keeps the parts of an unfinished upload, and bills them, until somebody aborts it.
"""

from typing import Any

from functions.download import layout, manifest
from functions.download.blobs import shelf
from functions.download.files import SQL
from functions.kit.db import Database
from functions.kit.objects import Objects


class Cleanup:
    """Cleans up after models, in the bucket and then in the rows that remember what is there."""

    def __init__(self, db: Database, objects: Objects) -> None:
        self._db = db
        self._objects = objects

    async def abort_uploads(self, model_uuid: str) -> None:
        """Abort the unfinished uploads of a model's files, and drop what was uploaded and not yet verified.

        Not of a model that has been retried meanwhile.
        """
        for row in await self._db.fetch(SQL.list_files, model_uuid):
            upload = (model_uuid, row["path"], row["upload_id"])
            if row["upload_id"] and not await self._db.fetchval(SQL.live_upload, *upload):
                await self._abort(model_uuid, row)
                await self._db.execute(SQL.forget_upload, *upload)
        if not await self._db.fetch(shelf.SQL.unfinished_models, [model_uuid]):
            await self._drop(layout.staging_key(model_uuid, ""))

    async def _abort(self, model_uuid: str, row: Any) -> None:
        """An upload lies where it began: under the digest that was promised, or where nobody had promised any."""
        digest = row["sha256"]
        key = layout.blob_key(digest) if digest else layout.staging_key(model_uuid, row["path"])
        await self._objects.abort_upload(key, row["upload_id"])

    async def delete_objects(self, model_uuid: str) -> None:
        """Delete a model's manifest and what is its own; blobs may be others' too, and are the collector's matter.

        The manifest first, so that nobody trusts what is going.
        """
        await self.abort_uploads(model_uuid)
        await self._objects.delete([manifest.key(model_uuid)])
        await self._drop(layout.legacy_key(model_uuid, ""))
        await self._db.execute(SQL.drop_files, model_uuid)

    async def _drop(self, prefix: str) -> None:
        await self._objects.delete([entry.key for entry in await self._objects.keys(prefix)])

    async def leftovers(self) -> None:
        """For the tick: models that ended while nobody could clean up, and uploads that no row knows."""
        for row in await self._db.fetch(SQL.leftovers):
            clean = self.delete_objects if row["status"] == "deleted" else self.abort_uploads
            await clean(row["uuid"])
        if await self._db.fetchval(SQL.was_active):
            await self._abort_orphans()

    async def _abort_orphans(self) -> None:
        """A worker can die between starting an upload and storing its id; a file that is leased may be just there."""
        for prefix in (layout.STAGING, layout.LEGACY):
            for key, upload_id in await self._objects.uploads(prefix):
                model_uuid, _, path = key.removeprefix(prefix).partition("/")
                if not await self._db.fetchval(SQL.known_upload, model_uuid, path, upload_id):
                    await self._objects.abort_upload(key, upload_id)
        for key, upload_id in await self._objects.uploads(layout.BLOBS):
            if not await self._db.fetchval(shelf.SQL.is_known_upload, key.rpartition("/")[2], upload_id):
                await self._objects.abort_upload(key, upload_id)
