"""`GET /events`: server-sent events (WHATWG HTML, 9.2) to one client, for as long as one request may last.

A stream ends by itself before Knative would cut it, and the client goes on with `Last-Event-ID`. It also ends when its
credential does, when the process is asked to stop, and when the client does not read what waits for it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from functions.kit import stopping
from functions.kit.identity import Identity
from functions.kit.problem import Problem
from functions.status import feed, models
from functions.status.deps import Deps
from functions.status.newsroom import Follower, Message, Newsroom

# Less than timeoutSeconds of the service `status` (60 s), which would end it in the middle of a line.
STREAM_S: Final = 50.0
# A comment this often keeps proxies from taking the stream for dead; the credential is looked at again then.
QUIET_S: Final = 15.0
# What a client waits before it comes again.
RETRY_MS: Final = 2000
# A stream is closed properly within this, or without farewell.
FAREWELL_S: Final = 1.0
_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # nginx would otherwise collect the stream before it passes it on.
    (b"x-accel-buffering", b"no"),
]
# No id of ours has more digits.
_MAX_DIGITS: Final = 18

Still = Callable[[], Awaitable[Identity]]


class Streams:
    """The endpoint, over the one newsroom of this instance."""

    def __init__(self, deps: Deps, newsroom: Newsroom) -> None:
        self._deps = deps
        self._newsroom = newsroom
        self._stopping: asyncio.Event | None = None

    async def events(self, request: Request) -> Response:
        """GET /events: news, and records of models and servers as they change; `?model=` those of one model."""

        async def still() -> Identity:
            who = await self._deps.verifier.identify(request.headers.get("authorization"))
            who.require("read")
            return who

        who = await still()
        name = request.query_params.get("model")
        model = await models.find_uuid(self._deps.db, name) if name else None

        def wanted(message: Message) -> bool:
            return (model is None or message.model_uuid == model) and feed.may_see(
                who, message.model_name, message.asker
            )

        after = last_event_id(request.headers.get("last-event-id", ""))
        self._stopping = self._stopping or stopping.announced()
        following = contextlib.AsyncExitStack()
        follower = await following.enter_async_context(self._newsroom.following(after, wanted))
        return Stream(_texts(self._newsroom, follower, after, still), follower, self._stopping, following)


def last_event_id(text: str) -> int | None:
    """The id that a client goes on from. None for what we never sent: a browser cannot correct it, so it follows from now on."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


async def _texts(newsroom: Newsroom, follower: Follower, after: int | None, still: Still) -> AsyncIterator[bytes]:
    """What the client gets. Raises Unauthorized when its credential is worth nothing any more."""
    seen = follower.since if after is None or after > follower.since else after
    # The id first, so that a client that has heard nothing yet goes on from here as well.
    yield f"retry: {RETRY_MS}\nid: {seen}\n\n".encode()
    async for message in newsroom.missed(seen, follower):
        yield message.text
    while True:
        await still()
        async for text in _until(asyncio.get_running_loop().time() + QUIET_S, follower):
            yield text
        yield b": still here\n\n"


async def _until(end: float, follower: Follower) -> AsyncIterator[bytes]:
    """What comes until `end`, of the loop's clock."""
    while (left := end - asyncio.get_running_loop().time()) > 0:
        with contextlib.suppress(TimeoutError):
            yield (await asyncio.wait_for(follower.next(), left)).text


class Stream(Response):
    """The response: passes on what comes, until one of its ends."""

    def __init__(
        self,
        texts: AsyncIterator[bytes],
        follower: Follower,
        stopping_: asyncio.Event,
        following: contextlib.AsyncExitStack,
        stream_s: float = STREAM_S,
    ) -> None:
        super().__init__()
        self._texts = texts
        self._follower = follower
        self._stopping = stopping_
        self._following = following
        self._stream_s = stream_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI call."""
        del scope
        async with self._following:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            passing = asyncio.create_task(self._pass(send))
            ends = [
                asyncio.create_task(each) for each in (_gone(receive), _set(self._stopping), _set(self._follower.cut))
            ]
            try:
                await asyncio.wait([passing, *ends], timeout=self._stream_s, return_when=asyncio.FIRST_COMPLETED)
                if passing.done():
                    passing.result()
            finally:
                await _cancel(passing, *ends)
        # A client that does not read would hold even the farewell up.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pass(self, send: Send) -> None:
        """Send until the credential or the database ends it: the client comes again, and is told why then."""
        with contextlib.suppress(Problem):
            async for text in self._texts:
                await send({"type": "http.response.body", "body": text, "more_body": True})


async def _set(event: asyncio.Event) -> None:
    await event.wait()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancel(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
