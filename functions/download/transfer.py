"""One slice of one file: from the source into S3, resumed from what S3 holds, verified against the source's digest.

`slices` calls `run` with a claimed row and decides what its outcome, or its exception, means for file and model.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial

from functions.download import layout
from functions.download.buffers import Buffers
from functions.download.digest import Digest
from functions.download.files import FileRow, FileRows
from functions.download.layout import Resumption, Span
from functions.download.parts import PartPump
from functions.download.problems import SourceChanged, SourceRefused
from functions.download.progress import keep_beating
from functions.download.ranges import Origin, Reads
from functions.kit.objects import Objects

# Puts one part of a file's upload without its bytes coming here.
Copier = Callable[[FileRow, Origin, Span], Awaitable[None]]


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

    async def run(self, file: FileRow, origin: Origin) -> Outcome:
        """Work on the file for about slice_s. `file` is left as it stands; after VERIFIED its sha256 is set.

        Raises SourceUnwell, SourceChanged, SourceRefused (a wrong digest too), LeaseLost, Retry.
        """
        deadline = time.monotonic() + self._limits.slice_s
        work = self._small if file.size <= self._limits.part_bytes else self._large
        return await keep_beating(work(file, origin, deadline), file, self._rows)

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

    async def _large(self, file: FileRow, origin: Origin, deadline: float) -> Outcome:
        digest = Digest.load(file.hash_state) if file.hash_state else _new_digest(file)
        if await self._is_complete(file):
            return await self._read_back(file, digest, deadline)
        spans = layout.spans(file.size, layout.part_size(file.size, self._limits.part_bytes))
        standing = await self._standing(file, spans, digest)
        await self._rows.beat(file)
        # What the server copies is hashed when it is complete, which is too late under a blob's key.
        copies = self._copier is not None and not layout.is_blob(file.key)
        copy = partial(self._copier, file, origin) if self._copier is not None and copies else None
        followed = digest if standing.hashing and copy is None else None
        pump = PartPump(
            file, origin, followed, self._reader, self._objects, self._buffers, deadline, self._limits.parts_in_flight,
            copy=copy,
        )  # fmt: skip
        await pump.run(standing.todo)
        file.etag = origin.etag
        return await self._conclude(file, spans, pump, digest, deadline)

    async def _is_complete(self, file: FileRow) -> bool:
        """Whether an earlier slice completed the upload, though it may have died before it could say so."""
        if file.upload_id is None and not file.hash_state:
            return False
        stored = await self._objects.head(file.key)
        if stored is None or stored.size != file.size:
            return False
        file.upload_id = None
        return True

    async def _standing(self, file: FileRow, spans: list[Span], digest: Digest) -> Resumption:
        held = await self._objects.parts(file.key, file.upload_id) if file.upload_id else []
        if not held:
            await self._start_over(file)
            file.upload_id = await self._objects.start_upload(file.key)
            return Resumption(spans, hashing=True, bytes_held=0)
        sizes = {part.number: part.size for part in held}
        if layout.is_blob(file.key):
            # Nobody may see it before the digest has seen all of it, so parts past the digest are fetched again.
            sizes = {
                span.number: sizes[span.number] for span in spans if span.end <= digest.offset and span.number in sizes
            }
        standing = layout.resume(spans, sizes, digest.offset)
        if standing is None:
            raise SourceChanged("what S3 holds and the stored digest contradict each other")
        file.bytes_done = standing.bytes_held
        return standing

    async def _start_over(self, file: FileRow) -> None:
        if file.upload_id:
            await self._objects.abort_upload(file.key, file.upload_id)
        if file.hash_state:
            raise SourceChanged("S3 no longer holds the parts of this file")
        file.bytes_done = 0

    async def _conclude(
        self, file: FileRow, spans: list[Span], pump: PartPump, digest: Digest, deadline: float
    ) -> Outcome:
        held = await self._objects.parts(file.key, file.upload_id or "")
        file.bytes_done = sum(part.size for part in held)
        if pump.trouble is not None:
            raise pump.trouble
        if len(held) < len(spans):
            return Outcome.MORE
        if layout.is_blob(file.key):
            await self._verify_unseen(file, digest)
        await self._objects.complete_upload(file.key, file.upload_id or "", held)
        file.upload_id = None
        file.hash_state = file.hash_state or digest.dump()
        return await self._read_back(file, digest, deadline)

    async def _verify_unseen(self, file: FileRow, digest: Digest) -> None:
        """What is not the promised content never becomes visible under its key. Raises SourceRefused, SourceChanged."""
        if digest.offset != file.size:
            raise SourceChanged("what S3 holds and the digest contradict each other")
        try:
            verify(file, digest)
        except SourceRefused:
            await self._objects.abort_upload(file.key, file.upload_id or "")
            file.upload_id = None
            raise

    async def _read_back(self, file: FileRow, digest: Digest, deadline: float) -> Outcome:
        """Give the digest what it has not seen, out of S3: after a crash, nothing otherwise. Then verify."""
        while digest.offset < file.size:
            end = min(file.size, digest.offset + self._limits.part_bytes)
            async with self._buffers.holding(end - digest.offset):
                data = await self._objects.get(file.key, digest.offset, end)
                if data is None or len(data) != end - digest.offset:
                    raise SourceChanged("S3 no longer holds this file")
                await asyncio.to_thread(digest.update, data)
            file.hash_state = digest.dump()
            if digest.offset < file.size and time.monotonic() >= deadline:
                return Outcome.MORE
        try:
            verify(file, digest)
        except SourceRefused:
            await self._objects.delete([file.key])
            raise
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


def _new_digest(file: FileRow) -> Digest:
    return Digest(file.size, with_git_oid=file.git_oid is not None)


def _counting(file: FileRow) -> Callable[[int], None]:
    def saw(count: int) -> None:
        file.bytes_done += count

    return saw
