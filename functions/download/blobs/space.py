"""Asks the store what it has free, where it says so: SeaweedFS's volume server at TORPOR_STORE_STATUS_URL."""

import logging
from typing import Final

from functions.download.blobs import room
from functions.download.blobs.room import Budget
from functions.download.http import SourceHttp, read_whole
from functions.download.problems import SourceRefused, SourceUnwell

_MAX_ANSWER: Final = 4 * 1024 * 1024
_OK: Final = 200
_LOG = logging.getLogger("torpor.download")


class Space:
    """What plans may take. quota: bytes, 0 for none. url: empty where the store does not say what is free."""

    def __init__(self, quota: int, url: str, http: SourceHttp) -> None:
        self._quota = quota
        self._url = url
        self._http = http

    @property
    def is_limited(self) -> bool:
        """Whether anything is to be checked."""
        return bool(self._quota or self._url)

    async def budget(self) -> Budget:
        """As of now. A store that does not answer stops nobody: what does not fit fails when it is written."""
        return Budget(self._quota, await self._free() if self._url else None)

    async def _free(self) -> int | None:
        try:
            async with self._http.get(self._url, {"Accept": "application/json"}) as response:
                answer = await read_whole(response, _MAX_ANSWER) if response.status == _OK else b""
            return room.free_bytes(answer)
        except (SourceUnwell, SourceRefused, ValueError) as error:
            _LOG.warning("how much space the store has is not known: %s", error)
            return None
