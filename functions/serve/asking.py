"""How serve itself asks a model: through the ingress that Knative routes by host, with serve's own key.

Called by whoever has a question of Torpor's own (a warm-up prompt, an evaluation) and by asynchronous inference, which
asks in somebody's name: usage then counts for that person. aiohttp is imported at the first question.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from functions.kit import trace
from functions.kit.problem import Problem, Retry
from functions.kit.settings import Secret

# Engines honour them from a caller that may `delegate` (engine/delegation.py).
SUBJECT: Final = "torpor-subject"
KEY_ID: Final = "torpor-key-id"
# 512 embeddings of 1,024 numbers; a chat's answer is a thousandth of it. Each call under way may hold as much.
MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024
# The ingress takes a connection at once, whatever it then waits for.
CONNECT_S: Final = 10.0
AGAIN_S: Final = 2.0
_READ_BYTES: Final = 65_536


class AnswerTooLarge(Problem):
    """The model's answer is too large"""

    status = 502


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model, or whoever stands before it, answered. first_byte_ms: until the first byte of the body."""

    status: int
    body: bytes
    first_byte_ms: int
    headers: Mapping[str, str]


class Asker:
    """POSTs JSON to models. One kept-alive session; cancelling a question hangs up, which stops the engine."""

    def __init__(self, ingress_url: str, key: Secret, *, max_answer_bytes: int = MAX_ANSWER_BYTES) -> None:
        """ingress_url: where Knative routes by host. key: serve's own API key, which may `infer` and `delegate`."""
        self._ingress_url = ingress_url.rstrip("/")
        self._key = key
        self._max_answer_bytes = max_answer_bytes
        self._session: Any = None

    async def ask(  # noqa: PLR0913  # what to ask, and whose usage it is
        self, host: str, path: str, body: bytes, *, subject: str = "", key_id: str = "", timeout_s: float
    ) -> Answer:
        """POST `body` to `path` of the server, or the tag of one, whose host this is; it is woken from zero.

        subject, key_id: whose usage it is; empty means Torpor's own. timeout_s: until the last byte, waking included.
        Raises Retry when nobody answers in that time, AnswerTooLarge. Whatever is answered is returned, errors too.
        """
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession()
        limit = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S)
        headers, asked_at = self._headers(host, subject, key_id), time.monotonic()
        try:
            async with self._session.post(
                self._ingress_url + path, data=body, headers=headers, timeout=limit, allow_redirects=False
            ) as response:
                return await self._read(response, asked_at)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Retry(AGAIN_S, f"{host} does not answer ({type(error).__name__})") from error

    async def close(self) -> None:
        """Close the session, if there ever was one."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _headers(self, host: str, subject: str, key_id: str) -> dict[str, str]:
        named = {SUBJECT: subject, KEY_ID: key_id}
        return {
            "host": host,
            "authorization": f"Bearer {self._key.reveal()}",
            "content-type": "application/json",
            "traceparent": trace.current(),
            **{name: quote(text, safe="@+") for name, text in named.items() if text},
        }

    async def _read(self, response: Any, asked_at: float) -> Answer:
        parts = [await response.content.read(_READ_BYTES)]
        first_byte_ms = round((time.monotonic() - asked_at) * 1000)
        size = len(parts[0])
        while not response.content.at_eof():
            parts.append(await response.content.read(_READ_BYTES))
            size += len(parts[-1])
            if size > self._max_answer_bytes:
                raise AnswerTooLarge(f"it has more than {self._max_answer_bytes} bytes: ask for less at once")
        lower = {name.lower(): text for name, text in response.headers.items()}
        return Answer(response.status, b"".join(parts), first_byte_ms, lower)
