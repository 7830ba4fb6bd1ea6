"""A thin proxy in front of a real S3: it passes everything on, unless a test wants an answer of its own in place of S3's.

Signatures cover the Host that the client wrote, so that is passed on as well.
"""

import contextlib
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import ClientSession, TCPConnector, web
from yarl import URL

# Of one hop; the rest is the client's or S3's.
_HOPS: Final = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})


@dataclass(frozen=True)
class Call:
    """One call of S3's API: its name as in S3's documentation, as far as the tests tell them apart."""

    name: str
    key: str


@dataclass(frozen=True)
class Reply:
    """What S3 would say: an error document with this status, also with 200."""

    status: int
    code: str
    message: str = "says the test"
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        """As S3 writes it."""
        text = f"<?xml version='1.0'?><Error><Code>{self.code}</Code><Message>{self.message}</Message></Error>"
        return web.Response(status=self.status, text=text, content_type="application/xml", headers=self.headers)


@dataclass
class Proxy:
    """`behave` answers in S3's place, or None; `spoil` changes the bytes of a part or an object on their way."""

    upstream: str
    behave: Callable[[Call], Reply | None] = lambda _: None
    spoil: Callable[[Call, bytes], bytes] = lambda _, body: body
    url: str = ""
    calls: list[Call] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["Proxy"]:
        """Listen on loopback."""
        async with ClientSession(connector=TCPConnector(limit=0), auto_decompress=False) as session:
            application = web.Application(client_max_size=2**30)

            async def passing(request: web.Request) -> web.StreamResponse:
                return await self._pass(session, request)

            application.router.add_route("*", "/{path:.*}", passing)
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            try:
                yield self
            finally:
                await runner.cleanup()

    async def _pass(self, session: ClientSession, request: web.Request) -> web.StreamResponse:
        call = _call(request)
        self.calls.append(call)
        body = await request.read()
        reply = self.behave(call)
        if reply is not None:
            return reply.response()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOPS}
        url = URL(self.upstream + request.raw_path, encoded=True)
        data = io.BytesIO(self.spoil(call, body)) if body else None
        async with session.request(request.method, url, headers=headers, data=data, allow_redirects=False) as answer:
            hops = _HOPS - ({"content-length"} if request.method == "HEAD" else frozenset())
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in hops}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)


def _call(request: web.Request) -> Call:
    key = request.path.strip("/").partition("/")[2]
    names = {
        ("POST", "uploads"): "CreateMultipartUpload",
        ("PUT", "uploadId"): "UploadPart",
        ("POST", "uploadId"): "CompleteMultipartUpload",
        ("DELETE", "uploadId"): "AbortMultipartUpload",
        ("GET", "uploadId"): "ListParts",
        ("GET", "uploads"): "ListMultipartUploads",
        ("GET", "list-type"): "ListObjectsV2",
    }
    found = (name for (method, query), name in names.items() if method == request.method and query in request.query)
    return Call(next(found, f"{request.method.capitalize()}Object"), key)
