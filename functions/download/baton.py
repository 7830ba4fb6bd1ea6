"""The digest of one file as a baton: whoever has the next part of the file carries it on, on whatever instance.

SHA-256 is sequential, and parts of a large file arrive on several instances. So the state after each part is kept in
`model_files.hash_state`, and whoever holds the part that follows in memory takes it from there. A part counts as done
when S3 holds it *and* the kept digest has seen it; what has only one of the two is fetched again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from functions.download.digest import Digest
from functions.download.files import FileRow, FileRows
from functions.download.layout import Span
from functions.download.problems import ProgressLost

# How soon it is seen that another instance has carried the digest on: about what it takes to hash a stretch.
POLL_S: Final = 0.02


class Baton:
    """The digest of `file`, as far as this worker has seen it. shared: other workers carry it on as well."""

    def __init__(self, rows: FileRows, file: FileRow, *, shared: bool) -> None:
        self.shared = shared
        self.digest = _loaded(file)
        self._rows = rows
        self._file = file
        self._kept = file.hash_state
        self._state = file.hash_state
        self._keeping = asyncio.Lock()

    @property
    def offset(self) -> int:
        """How many bytes of the file the digest has seen."""
        return self.digest.offset

    async def begin(self) -> None:
        """Say that there is a digest, of nothing so far."""
        self._state = self._state or self.digest.dump()
        await self.keep()

    async def reach(self, span: Span, is_patient: Callable[[], Awaitable[bool]]) -> bool:
        """Whether the digest stands at the beginning of `span`; waits for other workers while `is_patient` says so."""
        while self.offset != span.start:
            if self.offset > span.start or not self.shared or not await is_patient():
                return False
            await asyncio.sleep(POLL_S)
            await self.look()
        return True

    async def carry_on(self, data: bytes | bytearray, crc32: int) -> None:
        """Hash the part that follows, which S3 holds by now; `keep` it then."""
        digest = self.digest
        state = await asyncio.to_thread(_added, digest, data, crc32)
        if digest is self.digest:
            self._state = state

    async def keep(self) -> None:
        """Store where the digest is, for whoever goes on. Raises LeaseLost.

        One write at a time: what was hashed during one is stored by the next.
        """
        async with self._keeping:
            # Not a dump of now: the next part may be in the middle of being hashed.
            state = self._state
            if state is None or state == self._kept:
                return
            # Somebody else may have hashed the same part meanwhile: the first to say so counts.
            if await self._rows.advance(self._file, self._kept, state):
                self._kept = self._file.hash_state = state
            else:
                await self._reload()

    async def look(self) -> None:
        """See how far others have carried it. Raises LeaseLost when the file's upload is another one by now."""
        if self.shared and self._state == self._kept:
            await self._reload()

    async def _reload(self) -> None:
        state = await self._rows.digest(self._file)
        if state != self._kept:
            self._kept = self._file.hash_state = state
            self.digest = _loaded(self._file)
            self._state = state


def _added(digest: Digest, data: bytes | bytearray, crc32: int) -> bytes:
    digest.add_part(data, crc32)
    return digest.dump()


def _loaded(file: FileRow) -> Digest:
    if file.hash_state is None:
        return Digest(file.size, with_git_oid=file.git_oid is not None)
    try:
        return Digest.load(file.hash_state)
    except ValueError as error:
        raise ProgressLost(f"its progress cannot be gone on from: {error}") from error
