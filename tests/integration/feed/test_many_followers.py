"""A thousand followers, half of whom do not read: those who do hear everything, memory stays bounded, SIGTERM ends it."""

import asyncio
import contextlib
import re
import socket

from functions.status.newsroom import MOST
from tests.integration.feed.conftest import Feed

NEWS = 400
# What waits for one who does not read is then more than the buffers on the way can take.
TEXT_BYTES = 2048
# The container has 256 MiB, of which about 100 are the function's own.
MAY_GROW_MIB = 120
# Of whatever is waited for; a busy machine takes a while to tell a thousand.
WITHIN_S = 120


async def connect(feed: Feed, *, after: int | None = None, buffer: int | None = None) -> socket.socket:
    """A follower as a raw socket, which reads nothing by itself."""
    client = socket.socket()
    if buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", feed.port))
    since = "" if after is None else f"Last-Event-ID: {after}\r\n"
    await loop.sock_sendall(
        client, f"GET /events HTTP/1.1\r\nHost: s\r\nAuthorization: Bearer user:*\r\n{since}\r\n".encode()
    )
    return client


async def read(feed: Feed, client: socket.socket) -> list[int]:
    """The ids that one client hears until it has the last one; it comes again when it is cut, as a browser does."""
    heard: list[int] = []
    while True:
        seen = bytearray()
        with contextlib.closing(client):
            while heard[-1:] != [NEWS] and (data := await asyncio.get_running_loop().sock_recv(client, 262_144)):
                seen += data
                whole = seen.rfind(b"\n\n") + 2
                heard += [int(found) for found in re.findall(rb"id: (\d+)\nevent", seen[:whole])]
                del seen[:whole]
        if heard[-1:] == [NEWS]:
            return heard
        client = await connect(feed, after=heard[-1] if heard else 0)


async def left_of(client: socket.socket) -> int:
    """How much one that was cut had been sent, up to the end of its stream."""
    seen = bytearray()
    async with asyncio.timeout(20):
        while data := await asyncio.get_running_loop().sock_recv(client, 65536):
            seen += data
    return len(re.findall(rb"id: \d+\nevent", seen))


async def one_too_many(feed: Feed) -> None:
    """Come again until the process has as many followers as it takes: 503 then, with the time to come again."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            async with feed.http.stream("GET", "/events", headers={"authorization": "Bearer user:*"}) as response:
                if response.status_code == 503:
                    assert response.headers["retry-after"] == "5"
                    return


async def test_a_thousand_followers_half_of_whom_do_not_read(feed: Feed) -> None:
    """Readers hear all news in order; the process stays small; whoever comes as one too many is told to come later."""
    with contextlib.ExitStack() as open_:
        slow = [open_.enter_context(await connect(feed, buffer=4096)) for _ in range(MOST // 2)]
        readers = [await connect(feed) for _ in range(MOST // 2)]
        await one_too_many(feed)
        before = feed.resident_mib()
        reading = [asyncio.create_task(read(feed, client)) for client in readers]
        await feed.db.execute(
            "INSERT INTO feed (type, subject, data) SELECT 'model.failed', n::text, "
            "jsonb_build_object('reason', repeat('x', $1)) FROM generate_series(1, $2) n",
            TEXT_BYTES,
            NEWS,
        )
        async with asyncio.timeout(WITHIN_S):
            heard = await asyncio.gather(*reading)
        assert {tuple(each) for each in heard} == {tuple(range(1, NEWS + 1))}
        assert feed.resident_mib() - before < MAY_GROW_MIB
        assert all(0 < count < NEWS for count in await asyncio.gather(*map(left_of, slow[:20])))
        async with asyncio.timeout(20):
            await feed.stop()


async def test_sigterm_ends_open_streams(feed: Feed) -> None:
    """At once, with a proper end, so that the client comes again elsewhere."""
    async with feed.follow() as stream:
        await anext(stream)
        async with asyncio.timeout(20):
            stopping = asyncio.create_task(feed.stop())
            assert [event async for event in stream] == []
            await stopping
