"""Commands as a person's program sends them: through the front door, again and again until there is an answer.

An answer is anything but 401 (the token is renewed), 429 and 5xx. What came before it is counted: a try that got no
answer may have had its effect.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientTimeout

from tests.chaos.world import World

TIMEOUT: Final = ClientTimeout(total=20)
PAUSE_S: Final = 0.4
UNAUTHORIZED: Final = 401
TOO_MANY: Final = 429
SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """A definite answer. lost: tries before it whose outcome nobody knows."""

    status: int
    body: Any
    lost: int

    @property
    def accepted(self) -> bool:
        """Whether the command was taken."""
        return self.status // 100 == 2


class Api:
    """The administrator's calls."""

    def __init__(self, world: World, session: ClientSession) -> None:
        self._world = world
        self._session = session
        self._token = ""
        self.accepted = 0
        self.lost = 0

    async def call(self, method: str, path: str, body: object = None, *, idempotency_key: str = "") -> Answer:
        """The first definite answer."""
        extra = {"idempotency-key": idempotency_key} if idempotency_key else {}
        lost = 0
        while True:
            await self._world.up.wait()
            try:
                status, found = await self._try(method, path, body, await self._bearer(), extra)
            except (ClientError, OSError, TimeoutError):
                status, found = SERVER_ERROR, None
            if status == UNAUTHORIZED:
                self._token = ""
            elif status not in (0, TOO_MANY) and status < SERVER_ERROR:
                self.accepted += status // 100 == 2
                self.lost += lost
                return Answer(status, found, lost)
            else:
                lost += status != TOO_MANY
            await asyncio.sleep(PAUSE_S)

    async def as_key(self, key: str) -> int:
        """What the verify endpoint says to an API key."""
        while True:
            try:
                status, _ = await self._try("GET", "/auth/verify", None, f"APIKEY {key}")
            except (ClientError, OSError, TimeoutError):
                status = SERVER_ERROR
            if status < SERVER_ERROR and status != TOO_MANY:
                return status
            await asyncio.sleep(PAUSE_S)

    async def _try(
        self, method: str, path: str, body: object, authorization: str, extra: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        headers = {**({"authorization": authorization} if authorization else {}), **(extra or {})}
        url = f"{self._world.front}{path}"
        async with self._session.request(method, url, json=body, headers=headers, timeout=TIMEOUT) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if answer.content_type.endswith("json") and text else None

    async def _bearer(self) -> str:
        if not self._token:
            admin = self._world.secrets["torpor-admin"]
            login = {"username": admin["username"], "password": admin["password"]}
            status, found = await self._try("POST", "/auth/token", login, "")
            if status // 100 != 2:
                raise ConnectionError(f"no login: {status}")
            self._token = found["access_token"]
        return f"Bearer {self._token}"
