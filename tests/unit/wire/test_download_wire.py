"""Bodies that go straight into memory: from servers that keep to HTTP, that know it differently, and that break it."""

import asyncio
import secrets
import ssl
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from yarl import URL

from functions.download.connection import Room
from functions.download.guard import source_guard
from functions.download.http import SourceHttp
from functions.download.layout import Span
from functions.download.problems import SourceChanged, SourceRefused, SourceUnwell
from functions.download.ranges import Origin, RangeReader
from functions.download.wire import Answer, Wire
from functions.kit.settings import Secret
from tests.unit.certificates import certificate

BODY = bytes(range(251)) * 1000
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)
# What a connection does with each request that comes over it; None closes.
Serve = Callable[[int, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """connections: how many were opened. requests: the heads that came."""

    url: URL
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def serving(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Server, Wire]]:
    """A server that does `serve` for each request, counted from 0 over all connections, and a way to it."""
    server = Server(URL())

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            while not writer.is_closing():
                server.requests.append(await reader.readuntil(b"\r\n\r\n"))
                await serve(len(server.requests) - 1, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    server.url = URL(f"{'https' if tls else 'http'}://127.0.0.1:{listening.sockets[0].getsockname()[1]}/a%20b?c=d")
    way = Wire(source_guard(["127.0.0.1"]), connect_s=2.0, stall_s=0.3, per_host=2)
    try:
        yield server, way
    finally:
        way.close()
        listening.close()


async def fetched(way: Wire, url: URL, room: Room | None = None) -> bytes:
    """The body of one answer."""
    room = room or Room(bytearray(len(BODY)))
    answer = await way.get(url, {})
    try:
        await answer.read_into(room)
    finally:
        answer.close()
    return bytes(room.data)


def sending(*pieces: bytes, end: bool = False) -> Serve:
    """Each request is answered with these, in as many segments; end: then the connection ends."""

    async def serve(_: int, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        if end:
            writer.close()

    return serve


@pytest.mark.parametrize(
    "pieces",
    [
        (HEAD + BODY,),
        (HEAD[:5], HEAD[5:], BODY[:1], BODY[1:]),
        (HEAD + BODY[:100], BODY[100:]),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + HEAD, BODY),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BODY), BODY, b"\r\n0\r\n\r\n"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" + BODY[:5] + b"\r\n",
            b"%x\r\n" % (len(BODY) - 5) + BODY[5:] + b"\r\n0\r\n\r\n",
        ),
    ],
    ids=["at once", "cut up", "with the head", "after hints", "a chunk", "chunks"],
)
async def test_a_body_arrives_and_its_connection_is_kept(pieces: tuple[bytes, ...]) -> None:
    """However it is sent."""
    async with serving(sending(*pieces)) as (server, way):
        assert await fetched(way, server.url) == BODY
        assert await fetched(way, server.url) == BODY
        assert server.connections == 1
        assert server.requests[0].startswith(b"GET /a%20b?c=d HTTP/1.1\r\n")
        assert f"host: 127.0.0.1:{server.url.port}\r\n".encode() in server.requests[0].lower()


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: %d\r\n\r\n" % len(BODY),
    ],
)
async def test_a_connection_that_is_to_end_is_not_used_again(head: bytes) -> None:
    """Though its body is complete, with or without a length."""
    async with serving(sending(head, BODY, end=True)) as (server, way):
        assert await fetched(way, server.url) == BODY
        assert await fetched(way, server.url) == BODY
        assert server.connections == 2


async def test_over_tls(tmp_path: Path) -> None:
    """The same, kept as well."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path, "127.0.0.1"))
    trusting = ssl.create_default_context(cafile=str(tmp_path / "server.pem"))
    async with serving(sending(HEAD, BODY[:70_000], BODY[70_000:]), context) as (server, _):
        way = Wire(source_guard(["127.0.0.1"]), connect_s=2.0, stall_s=0.3, per_host=2, tls=lambda: trusting)
        assert await fetched(way, server.url) == BODY
        assert await fetched(way, server.url) == BODY
        assert server.connections == 1
        way.close()


@pytest.mark.parametrize("framed", [HEAD, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BODY)])
async def test_a_cut_keeps_what_came(framed: bytes) -> None:
    """And says how much is missing."""
    room = Room(bytearray(len(BODY)))
    async with serving(sending(framed + BODY[:1000], end=True)) as (server, way):
        with pytest.raises(SourceUnwell, match=f"cut the connection {len(BODY) - 1000} bytes before the end"):
            await fetched(way, server.url, room)
    assert (room.received, bytes(room.data[:1000])) == (1000, BODY[:1000])


async def test_an_end_that_comes_too_early_is_a_cut() -> None:
    """A body without a length that ends with its connection is complete when it is as long as was wanted."""
    async with serving(sending(b"HTTP/1.0 200 OK\r\n\r\n", BODY[:-1], end=True)) as (server, way):
        with pytest.raises(SourceUnwell, match="1 bytes before the end"):
            await fetched(way, server.url)


async def test_more_than_there_is_room_for_is_refused() -> None:
    """In chunks, which announce no length."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % (len(BODY) + 1)
    async with serving(sending(head + BODY + b"x\r\n0\r\n\r\n")) as (server, way):
        with pytest.raises(SourceChanged, match="more bytes than it declared"):
            await fetched(way, server.url)


async def test_what_nobody_asked_for_belongs_to_no_answer() -> None:
    """Bytes behind a body, in the same segment or later, end the connection: the next request has another."""
    extra = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"
    for pieces in [(HEAD + BODY + extra,), (HEAD + BODY, extra), (HEAD, BODY + extra)]:
        async with serving(sending(*pieces)) as (server, way):
            assert await fetched(way, server.url) == BODY
            await asyncio.sleep(0.05)
            assert await fetched(way, server.url) == BODY
            assert server.connections == 2


async def test_a_kept_connection_that_the_server_ends_costs_no_request() -> None:
    """It is ended when it is idle, or in answer to the next request: that is asked over a new one."""

    async def ending(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 1:
            writer.close()
        else:
            writer.write(HEAD + BODY)

    async with serving(ending) as (server, way):
        assert await fetched(way, server.url) == BODY
        assert await fetched(way, server.url) == BODY
        assert (server.connections, len(server.requests)) == (2, 3)


@pytest.mark.parametrize("body", [b"", BODY[:50]])
async def test_silence_in_a_body_is_a_stall(body: bytes) -> None:
    """Fewer bytes than 1 KiB a second over the stall time."""
    async with serving(sending(HEAD + body)) as (server, way):
        with pytest.raises(SourceUnwell, match="the source stalls: 0 bytes in"):
            await fetched(way, server.url)


async def test_silence_before_the_head_ends() -> None:
    """After the stall time, however many hints come."""

    async def hinting(_: int, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    for serve in (sending(), hinting):
        async with serving(serve) as (server, way):
            with pytest.raises(TimeoutError):
                await way.get(server.url, {})


@pytest.mark.parametrize(
    "head",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
    ],
)
async def test_what_is_not_http_is_told(head: bytes) -> None:
    """A head without an end too."""
    async with serving(sending(head)) as (server, way):
        with pytest.raises(SourceUnwell, match="not HTTP"):
            await way.get(server.url, {})


async def test_an_answer_that_is_not_read_costs_its_connection() -> None:
    """What is left of its body is nobody's."""
    async with serving(sending(HEAD + BODY)) as (server, way):
        (await way.get(server.url, {})).close()
        assert await fetched(way, server.url) == BODY
        assert server.connections == 2


async def test_a_host_has_so_many_connections_and_no_more() -> None:
    """Who comes later waits, and goes on when one ends, however it ends."""
    async with serving(sending(HEAD + BODY)) as (server, way):
        first, second = await way.get(server.url, {}), await way.get(server.url, {})
        third: asyncio.Task[Answer] = asyncio.create_task(way.get(server.url, {}))
        await asyncio.sleep(0.05)
        assert (third.done(), server.connections) == (False, 2)
        reading = asyncio.create_task(second.read_into(Room(bytearray(len(BODY) + 1))))
        await asyncio.sleep(0)
        reading.cancel()
        second.close()
        (await asyncio.wait_for(third, 2)).close()
        first.close()


async def test_an_etag_beyond_ascii_comes_back_as_it_was() -> None:
    """RFC 9110 allows such bytes in it."""
    async with serving(sending(HEAD.replace(b"Content", b'ETag: "v\xe9"\r\nContent', 1) + BODY)) as (server, way):
        (answer := await way.get(server.url, {})).close()
        (await way.get(server.url, {"If-Range": answer.headers["ETag"]})).close()
        assert b'\r\nIf-Range: "v\xe9"\r\n' in server.requests[1]


async def test_a_header_that_cannot_be_sent_is_refused_without_its_value() -> None:
    """It may be a token."""
    token = secrets.token_hex()
    async with serving(sending(HEAD + BODY)) as (server, way):
        assert await fetched(way, server.url) == BODY
        with pytest.raises(SourceRefused, match="Authorization holds characters") as caught:
            await way.get(server.url, {"Authorization": f"Bearer {token}\n"})
        assert token not in "".join(traceback.format_exception(caught.value))


async def test_a_range_ends_soon_after_its_slice() -> None:
    """However much of it comes: it is no stall, and it is not there in time."""

    async def slowly(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for start in range(0, len(BODY), 1000):
            writer.write(BODY[start : start + 1000])
            await asyncio.sleep(0.02)

    async with serving(slowly) as (server, _):
        http = SourceHttp(source_guard(["127.0.0.1"]), 0.3, Secret(""), None)
        origin = Origin(str(server.url), len(BODY), lambda status, _: AssertionError(status))
        with pytest.raises(SourceUnwell, match=r"the source is slow: \d+ of 251000 bytes"):
            await RangeReader(http, grace_s=0.1).read(
                origin, Span(1, 0, len(BODY)), time.monotonic() + 0.2, lambda _: None
            )
        await http.close()
