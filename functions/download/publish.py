"""The last step of a download: everything is verified, so check that it is a model, write the manifest, make it available.

The manifest is written in the transaction that makes the model available, before its commit: whoever sees the state finds
the manifest, and a model that was cancelled meanwhile gets none.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from functions.download import facts, manifest, models, signatures
from functions.download.blobs import shelf
from functions.download.blobs.shelf import Missing, Shelf
from functions.download.cleanup import Cleanup
from functions.download.files import SQL
from functions.download.manifest import IncompleteModel, StoredFile
from functions.download.states import FILE, MODEL, ModelCause, ModelState
from functions.download.vouching import Vouching
from functions.kit import history
from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.events import FileRequested, ModelAvailable
from functions.kit.history import Attempt
from functions.kit.objects import Objects

_LOG = logging.getLogger("torpor.download")


class Publisher:
    """Publishes models whose files are all verified; calling it for any other model does nothing."""

    def __init__(  # noqa: PLR0913  # what the last step touches
        self, db: Database, bus: Bus, objects: Objects, cleanup: Cleanup, blobs: Shelf, *, vouching: Vouching
    ) -> None:
        self._db = db
        self._bus = bus
        self._objects = objects
        self._cleanup = cleanup
        self._blobs = blobs
        self._vouching = vouching

    async def publish(self, model_uuid: str) -> None:
        """Make the model available, or failed when its files do not make one. Raises Retry."""
        model = await self._db.fetchrow(SQL.model, model_uuid)
        rows = await self._db.fetch(SQL.list_files, model_uuid)
        ready = rows and all(row["status"] == "verified" for row in rows)
        if model is None or MODEL.after(ModelState(model["status"]), ModelCause.PUBLISHED) is None or not ready:
            return
        files = await self._blobs.place(model_uuid, rows)
        if isinstance(files, Missing):
            await self._want_again(model, files)
            return
        try:
            refusal = await self._vouched(model_uuid, files)
            metadata = {} if refusal else await facts.gather(files, self._read)
        except IncompleteModel as error:
            refusal = "model-invalid", str(error)
        if refusal is not None:
            await self._refuse(model_uuid, *refusal)
            return
        await self._announce(model, files, metadata)

    async def _announce(self, model: Any, files: Sequence[StoredFile], metadata: dict[str, Any]) -> None:
        model_uuid = model["uuid"]
        document = manifest.make(model, files, datetime.now(UTC))
        place = f"s3://{self._blobs.bucket}/{manifest.key(model_uuid)}"
        allowed, after = MODEL.allowing(ModelCause.PUBLISHED), MODEL.target(ModelCause.PUBLISHED)
        async with self._bus.transaction(actor=model["actor"]) as unit:
            state = await unit.connection.fetchval(SQL.lock_model, model_uuid)
            if state not in allowed:
                await history.refused(unit, MODEL, Attempt(model_uuid, state, ModelCause.PUBLISHED))
                return
            # With the row in hand: whoever cancels or deletes waits for this one write, and finds the manifest or none.
            await self._objects.put(manifest.key(model_uuid), msgspec.json.encode(document))
            await unit.connection.fetchval(
                SQL.publish_model, model_uuid, allowed, after, place, document.total_bytes, metadata
            )
            unit.emit(ModelAvailable(model_uuid, model["model_name"]), modelname=model["model_name"])
        _LOG.info("model %s is available: %d files, %d bytes", model_uuid, len(files), document.total_bytes)

    async def _want_again(self, model: Any, missing: Missing) -> None:
        """What was verified is no longer there: somebody changed the bucket, so it is fetched once more."""
        _LOG.warning("%d verified files of model %s are gone from S3", len(missing.paths), model["uuid"])
        reason = "it was verified, but S3 no longer holds it: fetched again"
        async with self._bus.transaction(actor=model["actor"]) as unit:
            await unit.connection.fetchval(SQL.lock_model, model["uuid"])
            arguments = (model["uuid"], FILE.start, list(missing.paths), reason)
            for row in await unit.connection.fetch(shelf.SQL.want_again, *arguments):
                unit.emit(FileRequested(model["uuid"], row["path"], 0))

    async def _vouched(self, model_uuid: str, files: Sequence[StoredFile]) -> tuple[str, str] | None:
        """Keep what became of the signature, and answer why the policy refuses the model, if it does."""
        found = [file for file in files if file.path == signatures.FILE and file.size <= signatures.MAX_BYTES]
        bundle = await self._read(found[0], 0, found[0].size) if found else None
        verdict = self._vouching.judge(bundle, {file.path: file.sha256 for file in files})
        await self._db.execute(SQL.keep_signature, model_uuid, verdict.document() if verdict else None)
        return self._vouching.refusal(verdict)

    async def _refuse(self, model_uuid: str, code: str, reason: str) -> None:
        async with self._bus.transaction() as unit:
            await models.fail(unit, model_uuid, ModelCause.REFUSED, code, reason)
        await self._cleanup.abort_uploads(model_uuid)

    async def _read(self, file: StoredFile, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        data = await self._objects.get(file.key, start, end)
        if data is None or len(data) != end - start:
            raise IncompleteModel(f"S3 no longer holds {file.path}; retry the download")
        return data
