"""Passes one call to an instance and its answer back, streaming both ways.

Called by `door/frontdoor.py`. Nothing is buffered beyond SMALL: chunks go on as they come, so server-sent events keep their
timing. When the caller hangs up, aiohttp cancels the handler, which closes the connection to the instance.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    web,
)
from multidict import CIMultiDict
from yarl import URL

from kn_model.local.door.problems import late, not_starting, overloaded, problem
from kn_model.local.own_deliveries import NAMESPACE, PROOF
from kn_model.local.serving.activator import NotStarting, Overloaded
from kn_model.local.serving.instance import Instance
from kn_model.local.serving.replicas import Replicas

SMALL: Final = 65_536
"""Bytes up to which a body of known length is read whole: one write instead of several, and it can be sent again."""
KEEP_ALIVE_S: Final = 1.0
"""Idle connections are dropped sooner than instances drop them, or a POST could meet a closing one: a function's gunicorn
waits 2 s (its `keepalive`, which functions-framework leaves alone), plain uvicorn 5 s."""
TRIES: Final = 3
"""Instances tried when one turns out to be dead before anything was sent to it."""

# RFC 9110 section 7.6.1, and what only the last proxy may say.
_HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
     "transfer-encoding", "upgrade", "host", "expect"}
)  # fmt: skip
# Said by proxies and brokers, believed by applications: a caller must not say them (CVE-2026-35051 and relatives).
_OURS: Final = ("x-forwarded-", "k-", "knative-serving-", "forwarded", NAMESPACE.lower(), PROOF.lower())


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds, as the revision's spec says."""

    response_start_s: float
    """Until the first byte of the answer, waiting for an instance included."""
    total_s: float
    """Until its last byte."""
    idle_s: float | None = None
    """Between two chunks of the answer."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a call goes."""

    replicas: Replicas
    timeouts: Timeouts
    host: str
    """The Host header that the instance sees: `<service>.<namespace>.svc.cluster.local`."""
    path: str
    """Raw path and query."""
    kn_namespace: str | None = None
    """Of the broker's own deliveries: the namespace that they come from."""


def client() -> ClientSession:
    """The session for all instances: as transparent as aiohttp can be."""
    return ClientSession(
        connector=TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S, use_dns_cache=False),
        timeout=ClientTimeout(total=None, sock_connect=5),  # loopback connects at once or not at all
        auto_decompress=False,
        cookie_jar=DummyCookieJar(),
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
        read_bufsize=SMALL,
    )


async def forward(request: web.Request, target: Target, session: ClientSession) -> web.StreamResponse:
    """Answer the call from an instance, or with a problem document that says why there is none."""
    call = _Call(request, target, session)
    try:
        return await call.answer()
    except NotStarting as error:
        return not_starting(error)
    except Overloaded:
        return overloaded()


class _Call:
    """One call on its way: knows whether an answer has begun, since only then it is too late for another."""

    def __init__(self, request: web.Request, target: Target, session: ClientSession) -> None:
        self._request = request
        self._target = target
        self._session = session
        self._begun: web.StreamResponse | None = None
        self._held = True

    async def answer(self) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._target.timeouts.total_s
        try:
            async with asyncio.timeout_at(min(end, loop.time() + self._target.timeouts.response_start_s)) as limit:
                return await self._tried(limit, end)
        except TimeoutError:
            if self._begun is None:
                return late(self._target.replicas, held=self._held)
            self._cut()
            return self._begun

    async def _tried(self, limit: asyncio.Timeout, end: float) -> web.StreamResponse:
        body = await self._small_body()
        activator = self._target.replicas.activator
        for _ in range(TRIES):
            instance = await activator.acquire()
            self._held = False
            try:
                return await self._sent(instance, body, limit, end)
            except ClientConnectorError:
                self._target.replicas.lost(instance)
                self._held = True
            except (ClientError, OSError) as error:
                return self._broken(error)
            finally:
                activator.release(instance)
        return problem(503, "Unavailable", "no instance takes the connection", retry_s=1)

    async def _sent(
        self, instance: Instance, body: bytes | None, limit: asyncio.Timeout, end: float
    ) -> web.StreamResponse:
        async with self._session.request(
            self._request.method,
            URL(instance.url + self._target.path, encoded=True),
            headers=_request_headers(self._request, self._target),
            data=self._request.content.iter_any() if body is None else body or None,
            allow_redirects=False,
        ) as upstream:
            limit.reschedule(end)
            return await self._passed_back(upstream)

    async def _small_body(self) -> bytes | None:
        """The body, when it is known to be small; None when it has to be streamed."""
        length = self._request.content_length
        if not self._request.body_exists:
            return b""
        return await self._request.read() if length is not None and length <= SMALL else None

    async def _passed_back(self, upstream: ClientResponse) -> web.StreamResponse:
        headers = _response_headers(upstream)
        if upstream.content_length is not None and upstream.content_length <= SMALL:
            return web.Response(
                status=upstream.status, reason=upstream.reason, headers=headers, body=await upstream.read()
            )
        response = self._begun = web.StreamResponse(status=upstream.status, reason=upstream.reason, headers=headers)
        await response.prepare(self._request)
        async for chunk in self._chunks(upstream):
            await response.write(chunk)
        await response.write_eof()
        return response

    async def _chunks(self, upstream: ClientResponse) -> AsyncIterator[bytes]:
        idle_s = self._target.timeouts.idle_s
        while True:
            async with asyncio.timeout(idle_s):
                chunk = await upstream.content.readany()
            if not chunk:
                return
            yield chunk

    def _broken(self, error: Exception) -> web.StreamResponse:
        if self._begun is None:
            return problem(502, "Bad gateway", f"the instance broke off: {error}", retry_s=1)
        self._cut()
        return self._begun

    def _cut(self) -> None:
        """End the connection without the end of the body: the caller must see that something is missing."""
        if self._request.transport is not None:
            self._request.transport.abort()


def _request_headers(request: web.Request, target: Target) -> CIMultiDict[str]:
    named = {name.strip().lower() for name in request.headers.get("Connection", "").split(",")}
    headers: CIMultiDict[str] = CIMultiDict(
        (name, value)
        for name, value in request.headers.items()
        if name.lower() not in _HOP_BY_HOP and name.lower() not in named and not name.lower().startswith(_OURS)
    )
    headers["Host"] = target.host
    if target.kn_namespace is not None:
        headers[NAMESPACE] = target.kn_namespace
    headers["X-Forwarded-For"] = request.remote or "127.0.0.1"
    headers["X-Forwarded-Proto"] = "http"
    headers["X-Forwarded-Host"] = request.host
    headers.setdefault("X-Request-Id", str(uuid.uuid4()))
    return headers


def _response_headers(upstream: ClientResponse) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in upstream.headers.items() if name.lower() not in _HOP_BY_HOP)
