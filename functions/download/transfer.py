"""One slice of one file: from the source into S3, resumed from what S3 holds, verified against the source's digest.

`slices` calls `run` with a claimed row and decides what its outcome, or its exception, means for file and model.
The file is long because the three ways into S3 (in one piece, in parts, copied by S3 itself) are told beside each other.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial
from typing import Any, Final

from functions.download import layout, stretches
from functions.download.baton import POLL_S, Baton
from functions.download.buffers import Buffers
from functions.download.digest import Digest, crc32
from functions.download.files import FileRow, FileRows
from functions.download.layout import Span
from functions.download.parts import PartPump, together
from functions.download.problems import LeaseLost, ProgressLost, SourceRefused, SourceUnwell
from functions.download.progress import keep_beating
from functions.download.ranges import Origin, Reads
from functions.download.states import FileCause
from functions.download.stretches import Stretches, Work
from functions.kit.objects import Objects
from functions.kit.problem import Unavailable

# Puts one part of a file's upload without its bytes coming here.
Copier = Callable[[FileRow, Origin, Span], Coroutine[Any, Any, None]]
# Asks for so many workers to help with the file.
Invite = Callable[[int], Awaitable[None]]


# As long as Knative's autoscaler looks back when it panics.
STAND_BY_S: Final = 6.0


class Outcome(Enum):
    """What a slice achieved."""

    VERIFIED = auto()
    MORE = auto()


@dataclass(frozen=True, slots=True)
class Limits:
    """Time and memory of a slice; see the settings of the same names."""

    slice_s: float
    part_bytes: int
    parts_in_flight: int
    workers: int = 1


class Transfer:
    """Slices of files, over one reader, one bucket and one budget of memory.

    copier: moves parts of large files inside S3; their digest is then taken by reading back what S3 holds.
    """

    def __init__(  # noqa: PLR0913  # what a transfer is made of
        self,
        reader: Reads,
        objects: Objects,
        rows: FileRows,
        buffers: Buffers,
        limits: Limits,
        *,
        copier: Copier | None = None,
    ) -> None:
        self._reader = reader
        self._objects = objects
        self._rows = rows
        self._buffers = buffers
        self._limits = limits
        self._copier = copier
        # The shared files that this instance works on.
        self._here: dict[str, asyncio.Event] = {}

    async def run(self, file: FileRow, origin: Origin, invite: Invite) -> Outcome:
        """Lead the transfer of the file for about slice_s. `file` is left as it stands; after VERIFIED its sha256 is set.

        Raises SourceUnwell, SourceChanged, SourceRefused (a wrong digest too), LeaseLost, Retry.
        """
        deadline = time.monotonic() + self._limits.slice_s
        self._check_size(file)
        if file.size <= self._limits.part_bytes:
            return await keep_beating(self._small(file, origin, deadline), file, self._rows)
        return await keep_beating(self._large(file, origin, deadline, invite), file, self._rows)

    def _check_size(self, file: FileRow) -> None:
        """Raise SourceRefused for what would want larger parts than an instance has memory for."""
        if layout.part_size(file.size, self._limits.part_bytes) * layout.STRETCH_PARTS > self._buffers.limit:
            raise SourceRefused(
                "file-too-large",
                f"{file.path} is said to have {file.size} bytes: an operator can allow larger files with "
                f"TORPOR_BUFFER_BYTES, {layout.STRETCH_PARTS} parts of at most {layout.MAX_PARTS} have to fit into it",
            )

    async def _small(self, file: FileRow, origin: Origin, deadline: float) -> Outcome:
        """A file of one part: fetched, verified, then put at once; S3 never holds wrong bytes of it."""
        file.bytes_done = 0
        digest = Digest(file.size, with_git_oid=file.git_oid is not None)
        async with self._buffers.holding(file.size):
            data = await self._reader.read(origin, Span(1, 0, file.size), deadline, _counting(file))
            await asyncio.to_thread(digest.update, data)
            verify(file, digest)
            # The digest is known now, whoever promised it: straight to its place.
            file.key = layout.upload_key(file)
            await self._objects.put(file.key, data)
        return Outcome.VERIFIED

    async def _large(self, file: FileRow, origin: Origin, deadline: float, invite: Invite) -> Outcome:
        if await self._is_complete(file):
            return await self._read_back(file, deadline)
        # What the server copies is hashed when it is complete, which is too late under a blob's key.
        if self._copier is not None and not layout.is_blob(file.key):
            return await self._copied(partial(self._copier, file, origin), file, deadline)
        spans = self._spans(file)
        baton = Baton(self._rows, file, shared=stretches.is_shared(spans, self._limits.workers))
        await self._stand(file, spans, baton.digest)
        await self._rows.beat(file)
        if count := stretches.helpers(spans, baton.offset, self._limits.workers):
            await invite(count)
        trouble = await self._carry(file, origin, spans, baton, deadline)
        file.etag = origin.etag
        file.bytes_done = baton.offset
        if baton.offset == file.size:
            return await self._conclude(file, spans, baton.digest)
        if trouble is not None:
            raise trouble
        return Outcome.MORE

    async def help(self, file: FileRow, origin: Origin) -> None:
        """Fetch stretches of a file that another worker leads, for about slice_s. Decides nothing about the file.

        Raises what `run` raises.
        """
        if file.key in self._here:
            await self._stand_by(file)
            return
        deadline = time.monotonic() + self._limits.slice_s
        spans = self._spans(file)
        baton = Baton(self._rows, file, shared=True)
        with self._at_work_on(file):
            async with self._leased(file, spans, baton) as work:
                pump = self._pump(file, origin, work, baton, deadline)
                await pump.run()
        if pump.trouble is not None:
            raise pump.trouble

    async def _stand_by(self, file: FileRow) -> None:
        """Where the file is at work already a helper has no memory of its own, and would only wait for itself.

        That it stays for a moment is what Knative counts, and starts another instance for: the next one lands there.
        """
        with suppress(TimeoutError):
            await asyncio.wait_for(self._here[file.key].wait(), STAND_BY_S)

    @contextmanager
    def _at_work_on(self, file: FileRow) -> Iterator[None]:
        ended = self._here.setdefault(file.key, asyncio.Event())
        try:
            yield
        finally:
            self._here.pop(file.key, None)
            ended.set()

    async def _carry(
        self, file: FileRow, origin: Origin, spans: list[Span], baton: Baton, deadline: float
    ) -> SourceUnwell | Unavailable | None:
        """Move parts until all are hashed or the slice is over; answers the trouble that ended it early."""
        if not baton.shared:
            work = stretches.Alone([span for span in spans if span.start >= baton.offset])
            pump = self._pump(file, origin, work, baton, deadline)
            await pump.run()
            return pump.trouble
        while baton.offset < file.size:
            with self._at_work_on(file):
                async with self._leased(file, spans, baton) as leased:
                    pump = self._pump(file, origin, leased, baton, deadline)
                    begun = await pump.run()
            if pump.trouble is not None or time.monotonic() >= deadline:
                return pump.trouble
            if not begun:
                # Others have all that is left; it may be given up any moment.
                await asyncio.sleep(POLL_S)
            await baton.look()
            file.bytes_done = baton.offset
        return None

    def _pump(self, file: FileRow, origin: Origin, work: Work, baton: Baton, deadline: float) -> PartPump:
        return PartPump(
            file,
            origin,
            work,
            baton,
            self._reader,
            self._objects,
            self._buffers,
            deadline,
            # A source that is too slow for all of them at once may do for fewer.
            max(1, self._limits.parts_in_flight >> file.attempts),
            layout.part_size(file.size, self._limits.part_bytes),
        )

    def _leased(self, file: FileRow, spans: list[Span], baton: Baton) -> AbstractAsyncContextManager[Work]:
        return Stretches.leased(self._rows, file, spans, baton.offset)

    def _spans(self, file: FileRow) -> list[Span]:
        return layout.spans(file.size, layout.part_size(file.size, self._limits.part_bytes))

    async def _is_complete(self, file: FileRow) -> bool:
        """Whether an earlier slice completed the upload, though it may have died before it could say so.

        What lies under the key is then read back from its beginning: that it has the right size does not say whose it is.
        """
        if file.upload_id is None and not file.hash_state:
            return False
        stored = await self._objects.head(file.key)
        if stored is None or stored.size != file.size:
            return False
        if file.upload_id is None:
            # Being read back already.
            return True
        if await self._objects.parts(file.key, file.upload_id):
            return False
        fresh = Digest(file.size, with_git_oid=file.git_oid is not None).dump()
        if not await self._rows.advance(file, file.hash_state, fresh):
            raise LeaseLost(FileCause.CLAIMED)
        file.hash_state = fresh
        return True

    async def _stand(self, file: FileRow, spans: list[Span], digest: Digest) -> None:
        """Go on with the upload that the row names, or begin one. Raises ProgressLost when S3 no longer has its parts."""
        held = await self._objects.parts(file.key, file.upload_id) if file.upload_id else []
        sizes = {part.number: part.size for part in held}
        if not layout.covers(spans, sizes, digest.offset):
            raise ProgressLost("S3 no longer holds the parts of this file")
        if file.upload_id and file.hash_state is None:
            # Nothing of it counts, and it may be of a release that asked for no witness.
            await self._objects.abort_upload(file.key, file.upload_id)
            file.upload_id = None
        if file.upload_id is None:
            file.upload_id = await self._objects.start_upload(file.key, witnessed=True)
        file.bytes_done = digest.offset

    async def _conclude(self, file: FileRow, spans: list[Span], digest: Digest) -> Outcome:
        """Complete the upload: with the CRC32 of each part that was hashed, so that S3 refuses any other.

        What is not the promised content never becomes visible under its key.
        """
        try:
            verify(file, digest)
        except SourceRefused:
            await self._objects.abort_upload(file.key, file.upload_id or "")
            file.upload_id = None
            raise
        held = {part.number: part for part in await self._objects.parts(file.key, file.upload_id or "")}
        if len(held) != len(spans):
            raise ProgressLost("S3 no longer holds the parts of this file")
        parts = [replace(held[span.number], crc32=crc) for span, crc in zip(spans, digest.crc32s, strict=True)]
        await self._objects.complete_upload(file.key, file.upload_id or "", parts)
        file.upload_id = None
        return Outcome.VERIFIED

    async def _copied(
        self, copy: Callable[[Span], Coroutine[Any, Any, None]], file: FileRow, deadline: float
    ) -> Outcome:
        """Have the server copy the parts that miss, then read the object back for its digest: nobody has promised one."""
        held = await self._objects.parts(file.key, file.upload_id) if file.upload_id else []
        if not held:
            file.upload_id = await self._objects.start_upload(file.key)
        file.bytes_done = sum(part.size for part in held)
        await self._rows.beat(file)
        numbers = {part.number for part in held}
        todo = [span for span in self._spans(file) if span.number not in numbers]
        while todo:
            batch, todo = todo[: self._limits.parts_in_flight], todo[self._limits.parts_in_flight :]
            await together(copy(span) for span in batch)
            file.bytes_done += sum(span.size for span in batch)
            if todo and time.monotonic() >= deadline:
                return Outcome.MORE
        parts = await self._objects.parts(file.key, file.upload_id or "")
        await self._objects.complete_upload(file.key, file.upload_id or "", parts)
        return await self._read_back(file, deadline)

    async def _read_back(self, file: FileRow, deadline: float) -> Outcome:
        """Give the digest of a complete object what it has not seen, out of S3: all, after a copy inside S3. Then verify."""
        file.upload_id = None
        await self._rows.beat(file)
        baton = Baton(self._rows, file, shared=False)
        await baton.begin()
        while baton.offset < file.size:
            end = min(file.size, baton.offset + self._limits.part_bytes)
            async with self._buffers.holding(end - baton.offset):
                data = await self._objects.get(file.key, baton.offset, end)
                if data is None or len(data) != end - baton.offset:
                    raise ProgressLost("S3 no longer holds this file")
                await baton.carry_on(data, crc32(data))
            if baton.offset < file.size and time.monotonic() >= deadline:
                await baton.keep()
                return Outcome.MORE
        try:
            verify(file, baton.digest)
        except SourceRefused as error:
            # Who streamed it here had compared it: somebody else has put it there.
            await self._objects.delete([file.key])
            raise ProgressLost(f"S3 holds other bytes in its place: {error}") from error
        return Outcome.VERIFIED


def verify(file: FileRow, digest: Digest) -> None:
    """Compare with what the source promised, and keep the SHA-256. Raises SourceRefused naming both digests."""
    found = digest.sha256()
    if file.sha256 is not None and found != file.sha256:
        raise SourceRefused(
            "sha256-mismatch", f"{file.path} has sha256 {found}, the source promised {file.sha256}: it is not published"
        )
    if file.git_oid is not None and digest.git_oid() != file.git_oid:
        raise SourceRefused(
            "git-oid-mismatch", f"{file.path} has git blob id {digest.git_oid()}, the source promised {file.git_oid}"
        )
    file.sha256 = found


def _counting(file: FileRow) -> Callable[[int], None]:
    def saw(count: int) -> None:
        file.bytes_done += count

    return saw
