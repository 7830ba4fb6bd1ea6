"""The last step of a download: everything is verified, so check that it is a model, write the manifest, make it available.

`available` is one transaction after the manifest is in S3: whoever sees the state finds the manifest.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from functions.download import manifest, models, safetensors, states
from functions.download.cleanup import Cleanup
from functions.download.files import SQL, object_key
from functions.download.manifest import IncompleteModel, StoredFile
from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.events import ModelAvailable
from functions.kit.objects import Objects

# config.json and an index are small; what is larger is no configuration.
MAX_JSON_BYTES: Final = 64 * 1024 * 1024
# A GGUF file starts with this.
_GGUF_MAGIC: Final = b"GGUF"
_LOG = logging.getLogger("torpor.download")


class Publisher:
    """Publishes models whose files are all verified; calling it for any other model does nothing."""

    def __init__(self, db: Database, bus: Bus, objects: Objects, cleanup: Cleanup, bucket: str) -> None:
        self._db = db
        self._bus = bus
        self._objects = objects
        self._cleanup = cleanup
        self._bucket = bucket

    async def publish(self, model_uuid: str) -> None:
        """Make the model available, or failed when its files do not make one. Raises Retry."""
        model = await self._db.fetchrow(SQL.model, model_uuid)
        rows = await self._db.fetch(SQL.list_files, model_uuid)
        ready = rows and all(row["status"] == "verified" for row in rows)
        if model is None or model["status"] not in states.allowing(states.MODEL, "published") or not ready:
            return
        files = [StoredFile(row["path"], row["size_bytes"], row["sha256"]) for row in rows]
        try:
            facts = await self._facts(model_uuid, files)
        except (IncompleteModel, safetensors.InvalidHeader) as error:
            await self._refuse(model_uuid, str(error))
            return
        await self._announce(model, files, facts)

    async def _announce(self, model: Any, files: Sequence[StoredFile], facts: dict[str, Any]) -> None:
        model_uuid = model["uuid"]
        document = manifest.make(model, files, datetime.now(UTC))
        await self._objects.put(manifest.key(model_uuid), msgspec.json.encode(document))
        place = f"s3://{self._bucket}/models/{model_uuid}"
        allowed, after = states.allowing(states.MODEL, "published"), states.target(states.MODEL, "published")
        async with self._bus.transaction() as unit:
            moved = await unit.connection.fetchval(
                SQL.publish_model, model_uuid, allowed, after, place, document.total_bytes, facts
            )
            if moved is not None:
                unit.emit(ModelAvailable(model_uuid, model["model_name"]), modelname=model["model_name"])
        _LOG.info("model %s is available: %d files, %d bytes", model_uuid, len(files), document.total_bytes)

    async def _refuse(self, model_uuid: str, reason: str) -> None:
        async with self._bus.transaction() as unit:
            await models.fail(unit, model_uuid, "refused", "model-invalid", reason)
        await self._cleanup.abort_uploads(model_uuid)

    async def _facts(self, model_uuid: str, files: Sequence[StoredFile]) -> dict[str, Any]:
        """Read what the contract needs out of the stored files, and refuse headers that lie."""
        paths = [file.path for file in files]
        parameters: dict[str, int] = {}
        for file in files:
            if file.path.endswith(manifest.SAFETENSORS_INDEX):
                manifest.check_shards(file.path, await self._read(model_uuid, file), paths)
            elif file.path.endswith(".safetensors"):
                for dtype, count in (await self._parameters(model_uuid, file)).items():
                    parameters[dtype] = parameters.get(dtype, 0) + count
            elif file.path.endswith(".gguf"):
                await self._check_gguf(model_uuid, file)
        return manifest.metadata(files, await self._config(model_uuid, files), parameters)

    async def _parameters(self, model_uuid: str, file: StoredFile) -> dict[str, int]:
        key = object_key(model_uuid, file.path)
        head = await self._range(key, 0, min(file.size, safetensors.FIRST_READ_BYTES))
        length = safetensors.header_length(head, file.size)
        end = safetensors.LENGTH_BYTES + length
        if end > len(head):
            head += await self._range(key, len(head), end)
        return safetensors.parameters(head[safetensors.LENGTH_BYTES : end], file.size - end)

    async def _check_gguf(self, model_uuid: str, file: StoredFile) -> None:
        head = await self._range(object_key(model_uuid, file.path), 0, min(file.size, len(_GGUF_MAGIC)))
        if head != _GGUF_MAGIC:
            raise IncompleteModel(f"{file.path} is no GGUF file")

    async def _config(self, model_uuid: str, files: Sequence[StoredFile]) -> Any:
        found = [file for file in files if file.path == "config.json"]
        if not found:
            return None
        try:
            return msgspec.json.decode(await self._read(model_uuid, found[0]))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise IncompleteModel(f"config.json cannot be read: {error}") from error

    async def _read(self, model_uuid: str, file: StoredFile) -> bytes:
        if file.size > MAX_JSON_BYTES:
            raise IncompleteModel(f"{file.path} has {file.size} bytes, more than a configuration can have")
        return await self._range(object_key(model_uuid, file.path), 0, file.size)

    async def _range(self, key: str, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        data = await self._objects.get(key, start, end)
        if data is None or len(data) != end - start:
            raise IncompleteModel(f"S3 no longer holds {key.rpartition('/')[2]}; retry the download")
        return data
