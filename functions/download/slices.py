"""`file.requested`: one slice of one file, and what its outcome means for the file and its model.

A slice works about 20 s and then sends the event for the next one: far inside Knative's timeout, resumable after any
kill, and free to continue on another instance.
"""

import logging
import time
from dataclasses import dataclass
from functools import partial
from typing import Final

from functions.download import models
from functions.download.blobs import shelf
from functions.download.blobs.shelf import Hold, Shelf
from functions.download.cleanup import Cleanup
from functions.download.files import SQL, FileRow, FileRows
from functions.download.problems import FileLeased, LeaseLost, ProgressLost, SourceChanged, SourceRefused, SourceUnwell
from functions.download.progress import keep_beating
from functions.download.publish import Publisher
from functions.download.sources import parse
from functions.download.states import FILE, FileCause, ModelCause
from functions.download.suppliers import Suppliers, origin_of
from functions.download.transfer import Outcome
from functions.kit import history
from functions.kit.bus import Bus, Duplicate, Unit
from functions.kit.events import CloudEvent, FileRequested
from functions.kit.history import Attempt
from functions.kit.objects import Objects
from functions.kit.problem import Retry, Unavailable

# Slices in a row that may bring nothing, and versions of a file that may turn up, before its model has failed.
MAX_ATTEMPTS: Final = 10
MAX_RESTARTS: Final = 3
RETRY_AFTER_S: Final = 5.0
# What a slice may add to copy a file inside S3: with the slice itself still far from the function's timeout.
COPY_S: Final = 60.0
_LOG = logging.getLogger("torpor.download")


@dataclass(frozen=True, slots=True)
class Slices:
    """Runs slices: what it needs of the other parts."""

    bus: Bus
    rows: FileRows
    suppliers: Suppliers
    publisher: Publisher
    objects: Objects
    cleanup: Cleanup
    blobs: Shelf

    async def on_file_requested(self, event: CloudEvent) -> None:
        """Handle the event. Raises FileLeased (409) while another worker has the file, Retry, Duplicate."""
        wanted = event.decode(FileRequested)
        if await self.bus.seen(event):
            raise Duplicate(event.id)
        if wanted.helper:
            await self._help(event, wanted)
            return
        file = await self.rows.claim(wanted.model_uuid, wanted.path)
        if file is None:
            await self._nothing_to_do(event, wanted)
        else:
            await self._slice(event, wanted, file)

    async def _help(self, event: CloudEvent, wanted: FileRequested) -> None:
        """Fetch parts of a file that another worker leads. What goes wrong that one meets as well, and decides."""
        file = await self.rows.shared(wanted.model_uuid, wanted.path)
        if file is not None:
            try:
                await self.suppliers.transfer(parse(file.source)).help(file, origin_of(file))
            except (SourceRefused, SourceChanged, SourceUnwell, LeaseLost, Unavailable) as error:
                _LOG.info("helping with %s ends early: %s", file.path, error)
        async with self.bus.transaction(cause=event):
            pass

    async def _slice(self, event: CloudEvent, wanted: FileRequested, file: FileRow) -> None:
        try:
            await self._attempt(event, wanted, file)
        except LeaseLost as lost:
            await self._leave(file)
            # Not marked as handled: the worker that took over may be handling the very same event.
            async with self.bus.transaction() as unit:
                await self._note(unit, event, wanted, lost.cause)

    async def _nothing_to_do(self, event: CloudEvent, wanted: FileRequested) -> None:
        """The file is finished or no longer wanted. Raises FileLeased while a worker has it, or has just had it."""
        if await self.rows.is_leased(wanted.model_uuid, wanted.path):
            raise FileLeased(f"{wanted.path} is being transferred by another worker")
        async with self.bus.transaction(cause=event) as unit:
            if await unit.connection.fetchval(SQL.claimable, wanted.model_uuid, wanted.path):
                raise FileLeased(f"{wanted.path} was being transferred by another worker a moment ago")
            await self._note(unit, event, wanted, FileCause.CLAIMED)

    async def _note(self, unit: Unit, event: CloudEvent, wanted: FileRequested, cause: FileCause) -> None:
        row = await unit.connection.fetchrow(SQL.state_of_file, wanted.model_uuid, wanted.path)
        if row is not None:
            detail = f"{wanted.path}, of a model that is {row['model']}"
            await history.late(unit, FILE.kind, Attempt(wanted.model_uuid, row["file"], cause, detail), event)

    async def _attempt(self, event: CloudEvent, wanted: FileRequested, file: FileRow) -> None:
        held = file.bytes_done
        try:
            hold = await self.blobs.take(file)
            if hold is Hold.OURS:
                transfer, invite = self.suppliers.transfer(parse(file.source)), partial(self._invite, event, wanted)
                await self._conclude(event, wanted, file, await transfer.run(file, origin_of(file), invite))
            else:
                await self._held(event, file, hold)
        except SourceRefused as error:
            await self._fail(event, file, error.code, str(error))
        except SourceChanged as error:
            await self._restart(event, wanted, file, error)
        except SourceUnwell as error:
            if file.bytes_done > held:
                await self._conclude(event, wanted, file, Outcome.MORE)
            else:
                await self._wait(event, file, error)
        except Unavailable as error:
            await self._wait(event, file, error)

    async def _invite(self, event: CloudEvent, wanted: FileRequested, count: int) -> None:
        """Ask for workers beside this one: each slice of the one that leads does, so helpers end with theirs."""
        async with self.bus.transaction(actor=event.actor) as unit:
            for helper in range(1, count + 1):
                unit.emit(FileRequested(wanted.model_uuid, wanted.path, wanted.slice_number, helper))

    async def _conclude(self, event: CloudEvent, wanted: FileRequested, file: FileRow, outcome: Outcome) -> None:
        if outcome is Outcome.VERIFIED:
            deadline = time.monotonic() + COPY_S
            kept = await keep_beating(self.blobs.keep(file, deadline), file, self.rows)
            if kept is Hold.OURS:
                await self._verified(event, file, await self.blobs.etag(file))
                return
            if kept is not None:
                await self._held(event, file, kept)
                return
        file.attempts = 0
        async with self.bus.transaction(cause=event) as unit:
            await self.rows.release(file, on=unit.connection)
            unit.emit(FileRequested(file.model_uuid, file.path, wanted.slice_number + 1))

    async def _held(self, event: CloudEvent, file: FileRow, hold: Hold) -> None:
        """The same bytes are stored already, or on their way for another file: this one fetches none."""
        if file.upload_id:
            await self.objects.abort_upload(file.key, file.upload_id)
            file.upload_id, file.hash_state, file.bytes_done = None, None, 0
        if hold is Hold.STORED:
            await self._verified(event, file, None)
            return
        reason = f"{await self.blobs.holder_of(file)} is fetching the same bytes: this file waits for them"
        async with self.bus.transaction(cause=event) as unit:
            await self.rows.release(file, FileCause.WAITED, reason, on=unit.connection)

    async def _verified(self, event: CloudEvent, file: FileRow, etag: str | None) -> None:
        """etag: of the blob that this file brought; None when it was there."""
        after = FILE.target(FileCause.VERIFIED)
        async with self.bus.transaction(cause=event) as unit:
            await unit.connection.fetchval(SQL.lock_model, file.model_uuid)
            done = await unit.connection.fetchval(
                SQL.verify_file, file.model_uuid, file.path, file.lease, after, file.sha256
            )
            if done is None:
                raise LeaseLost(FileCause.VERIFIED)
            if etag is not None:
                await self.blobs.record(unit, file, etag)
            elif not await self.blobs.is_stored(unit, file):
                raise Retry(RETRY_AFTER_S, f"{file.path}: its bytes were stored a moment ago, and are no longer")
            missing = await unit.connection.fetchval(SQL.count_unverified, file.model_uuid)
        await self.blobs.forget_staging(file)
        if not missing:
            await self.publisher.publish(file.model_uuid)

    async def _restart(self, event: CloudEvent, wanted: FileRequested, file: FileRow, error: SourceChanged) -> None:
        """Another version turned up: nothing of this one is kept, so nothing can be mixed.

        A hub's file is pinned by commit and digest, so it may begin anew; the plan of any other source no longer holds,
        unless it is our own progress that was lost.
        """
        reason = str(error)
        if file.restarts >= MAX_RESTARTS or not (file.hf_name or isinstance(error, ProgressLost)):
            await self._fail(event, file, "source-changed", f"{reason}: retry the model to take the new version")
            return
        await self._drop_bytes(file)
        file.restarts += 1
        async with self.bus.transaction(cause=event) as unit:
            await self.rows.release(file, FileCause.RESTARTED, reason, on=unit.connection)
            unit.emit(FileRequested(file.model_uuid, file.path, wanted.slice_number + 1))

    async def _wait(self, event: CloudEvent, file: FileRow, error: SourceUnwell | Unavailable) -> None:
        """Nothing came: say so in the row and let the Broker ask again, until patience ends."""
        reason = str(error)
        file.attempts += 1
        if file.attempts >= MAX_ATTEMPTS:
            await self._fail(
                event, file, "unreachable", f"{reason}; gave up after {MAX_ATTEMPTS} tries, retry when it is mended"
            )
            return
        async with self.bus.transaction() as unit:
            await self.rows.release(file, error=reason, on=unit.connection)
            await shelf.let_go(unit, file.model_uuid, file.path)
        after_s = error.after_s if isinstance(error, SourceUnwell) else RETRY_AFTER_S
        raise Retry(max(after_s, RETRY_AFTER_S), f"{file.path}: {reason}") from error

    async def _fail(self, event: CloudEvent, file: FileRow, code: str, reason: str) -> None:
        allowed, after = FILE.allowing(FileCause.REFUSED), FILE.target(FileCause.REFUSED)
        async with self.bus.transaction(cause=event) as unit:
            await unit.connection.fetchval(SQL.lock_model, file.model_uuid)
            # Who lost the lease has nothing to say: the next holder may have verified the file.
            if await unit.connection.fetchval(SQL.holds_file, file.model_uuid, file.path, file.lease) is None:
                raise LeaseLost(FileCause.REFUSED)
            await models.fail(unit, file.model_uuid, ModelCause.REFUSED, code, reason)
            await unit.connection.execute(
                SQL.fail_file, file.model_uuid, file.path, allowed, after, reason[: models.MAX_REASON]
            )
        await self._leave(file)
        await self.cleanup.abort_uploads(file.model_uuid)

    async def _leave(self, file: FileRow) -> None:
        """The file is no longer this worker's: take away what it may have been putting into S3 meanwhile."""
        _LOG.info("the transfer of %s stops: the model is cancelled, deleted, failed or taken over", file.path)
        if file.upload_id and not await self.rows.owns_upload(file):
            await self.objects.abort_upload(file.key, file.upload_id)
        if not await self.rows.exists(file):
            await self.blobs.forget_staging(file)

    async def _drop_bytes(self, file: FileRow) -> None:
        if file.upload_id:
            await self.objects.abort_upload(file.key, file.upload_id)
        await self.blobs.forget_staging(file)
        file.upload_id, file.hash_state, file.bytes_done, file.etag = None, None, 0, ""
