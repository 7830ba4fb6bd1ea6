"""The HTTP edge towards sources: guarded connections, redirects followed by hand, status codes turned into two words.

A redirect is a new decision: the guard looks at every hop, and credentials stay with the host they were meant for.
Answers that are read at once come over aiohttp, bytes of files over `wire`.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, Protocol, TypeVar

import aiohttp
from yarl import URL

from functions.download import backoff
from functions.download.problems import SourceRefused, SourceUnwell
from functions.download.wire import Answer, Wire
from functions.kit.guard import Guard, GuardedResolver
from functions.kit.settings import Secret

MAX_REDIRECTS: Final = 5
CONNECT_TIMEOUT_S: Final = 5.0
# One instance's connections to one host: polite to a source, and enough for the parts that fit into memory.
CONNECTIONS_PER_HOST: Final = 16
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_NETWORK: Final = (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError)
# What one answer of a host may silence all of this instance's requests to it.
MAX_QUIET_S: Final = 30.0


class Response(Protocol):
    """What is looked at of any answer before its body."""

    @property
    def status(self) -> int:
        """HTTP's status code."""

    @property
    def headers(self) -> Mapping[str, str]:
        """By name, in whatever case."""

    def close(self) -> None:
        """The body is not wanted, or has been read."""


R = TypeVar("R", bound=Response)


class SourceHttp:
    """GETs from sources. token goes with requests to token_origin alone. Opens its connections at first use."""

    def __init__(self, guard: Guard, stall_s: float, token: Secret, token_origin: URL | None) -> None:
        """stall_s: seconds without a byte after which a connection is given up. token_origin: scheme, host and port."""
        self._guard = guard
        self._stall_s = stall_s
        self._token = token
        self._token_origin = token_origin
        self._session: aiohttp.ClientSession | None = None
        self._wire = Wire(guard, connect_s=CONNECT_TIMEOUT_S, stall_s=stall_s, per_host=CONNECTIONS_PER_HOST)
        # Hosts that asked for patience with Retry-After.
        self._quiet_until: dict[URL, float] = {}

    @contextlib.asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response after redirects, whatever its status but a busy one.

        Raises SourceUnwell (no answer, or asked for patience), SourceRefused (guard, endless redirects).
        """
        first = _address(url)
        with _unwell(first):
            response = await self._follow(first, headers, self._fetch)
            try:
                yield response
            finally:
                response.close() if not response.content.at_eof() else response.release()

    @contextlib.asynccontextmanager
    async def stream(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Answer]:
        """Likewise, for a body that is read into memory of the caller's."""
        first = _address(url)
        with _unwell(first):
            answer = await self._follow(first, headers, self._wire.get)
            try:
                yield answer
            finally:
                answer.close()

    def check(self, url: str) -> None:
        """Raise SourceRefused for an address that would not be asked."""
        self._guard.check(_address(url))

    async def close(self) -> None:
        """Close what is open."""
        self._wire.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _follow(
        self, url: URL, headers: Mapping[str, str], get: Callable[[URL, Mapping[str, str]], Awaitable[R]]
    ) -> R:
        came_from = None
        for _ in range(MAX_REDIRECTS + 1):
            self._guard.check(url, came_from)
            self._check_quiet(url)
            response = await get(url, self._headers(url, headers))
            location = response.headers.get("Location")
            if response.status in _BUSY:
                response.close()
                after_s = backoff.asked(response.headers.get("Retry-After", ""), datetime.now(UTC))
                until = time.monotonic() + min(after_s, MAX_QUIET_S)
                self._quiet_until[url.origin()] = max(until, self._quiet_until.get(url.origin(), 0.0))
                raise SourceUnwell(f"{url.raw_host} answered {response.status}", after_s)
            if response.status not in _REDIRECTS or not location:
                return response
            response.close()
            came_from, url = url, _address(location, url)
        raise SourceRefused("source-redirects", f"{url.raw_host} redirects more than {MAX_REDIRECTS} times")

    def _check_quiet(self, url: URL) -> None:
        """Raise SourceUnwell while the host has asked to be left alone, whichever request it said so to."""
        left = self._quiet_until.get(url.origin(), 0.0) - time.monotonic()
        if left > 0:
            raise SourceUnwell(f"{url.raw_host} has asked for patience", left)

    def _headers(self, url: URL, headers: Mapping[str, str]) -> dict[str, str]:
        """identity: a compressed answer would have other bytes than those that were hashed and counted."""
        sent = {"Accept-Encoding": "identity", "User-Agent": "torpor", **headers}
        if self._token and url.origin() == self._token_origin:
            sent["Authorization"] = f"Bearer {self._token.reveal()}"
        return sent

    async def _fetch(self, url: URL, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=self._stall_s)
            connector = aiohttp.TCPConnector(
                resolver=GuardedResolver(self._guard),
                socket_factory=self._guard.socket_to,
                limit_per_host=CONNECTIONS_PER_HOST,
                use_dns_cache=False,
            )
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        return await self._session.get(url, headers=headers, allow_redirects=False)


def version(headers: Mapping[str, str]) -> str:
    """What tells one version of a file from another, as `If-Range` takes it: the ETag, or else the date of Last-Modified."""
    return headers.get("ETag", "") or headers.get("Last-Modified", "")


async def read_whole(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body of an answer that is read at once. Raises SourceRefused past `most` bytes."""
    body = b""
    while more := await response.content.read(most + 1 - len(body)):
        body += more
        if len(body) > most:
            raise SourceRefused("source-too-large", f"the answer of {response.host} is larger than {most} bytes")
    return body


@contextlib.contextmanager
def _unwell(url: URL) -> Iterator[None]:
    """Trouble on the way to a host, in the word for what may pass."""
    try:
        yield
    except _NETWORK as error:
        raise SourceUnwell(f"{url.raw_host} does not answer ({_words(error)})") from error


def _address(text: str, base: URL | None = None) -> URL:
    """What `text` names, seen from `base`. Raises SourceRefused; looks at the port, since URL itself does so late."""
    try:
        url = URL(text, encoded=True)
        # What is quoted stays as it is, since signatures are made of it; what should have been is. No host is mended.
        if not (text.isascii() and text.isprintable() and " " not in text) and (url.raw_host or "").isascii():
            url = URL(text)
        url = url if base is None else base.join(url)
        _ = url.port
    except ValueError as error:
        where = "the source's" if base is None else f"what {base.raw_host} redirects to as"
        raise SourceRefused("source-forbidden", f"{where} address cannot be read") from error
    return url


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
