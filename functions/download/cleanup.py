"""What ended models leave in S3: unfinished uploads, objects of deleted models. Idempotent; the tick repeats it.

S3 keeps the parts of an unfinished upload, and bills them, until somebody aborts it.
"""

from functions.download import manifest
from functions.download.files import SQL, object_key
from functions.kit.db import Database
from functions.kit.objects import Objects

_PREFIX = "models/"


class Cleanup:
    """Cleans up after models, in the bucket and then in the rows that remember what is there."""

    def __init__(self, db: Database, objects: Objects) -> None:
        self._db = db
        self._objects = objects

    async def abort_uploads(self, model_uuid: str) -> None:
        """Abort the unfinished uploads of a model's files."""
        for row in await self._db.fetch(SQL.list_files, model_uuid):
            if row["upload_id"]:
                await self._objects.abort_upload(object_key(model_uuid, row["path"]), row["upload_id"])
                await self._db.execute(SQL.forget_upload, model_uuid, row["path"], row["upload_id"])

    async def delete_objects(self, model_uuid: str) -> None:
        """Delete a model's manifest and files; the manifest first, so that nobody trusts what is going."""
        await self.abort_uploads(model_uuid)
        await self._objects.delete([manifest.key(model_uuid)])
        stored = await self._objects.keys(object_key(model_uuid, ""))
        await self._objects.delete([entry.key for entry in stored])
        await self._db.execute(SQL.drop_files, model_uuid)

    async def leftovers(self) -> None:
        """For the tick: models that ended while nobody could clean up, and uploads that no row knows."""
        for row in await self._db.fetch(SQL.leftovers):
            clean = self.delete_objects if row["status"] == "deleted" else self.abort_uploads
            await clean(row["uuid"])
        if await self._db.fetchval(SQL.was_active):
            await self._abort_orphans()

    async def _abort_orphans(self) -> None:
        """A worker can die between starting an upload and storing its id; a file that is leased may be just there."""
        for key, upload_id in await self._objects.uploads(_PREFIX):
            model_uuid, _, path = key.removeprefix(_PREFIX).partition("/")
            if not await self._db.fetchval(SQL.known_upload, model_uuid, path, upload_id):
                await self._objects.abort_upload(key, upload_id)
