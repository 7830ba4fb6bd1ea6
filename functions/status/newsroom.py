"""One reader of PostgreSQL for all who follow: looks once a second, and hands the same bytes to everybody they concern.

Two kinds of message, as server-sent events (WHATWG HTML, 9.2): news out of `feed`, with an id to go on from, and the
records of models and servers while they change, without one: whoever was away reads the record. It looks only while
somebody follows, and holds a bounded number of messages for each.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from functions.kit.problem import Problem, Retry
from functions.status import feed, models, servers
from functions.status.deps import Rows

PERIOD_S: Final = 1.0
# A change is looked for this long after it was written: transactions may commit a little out of order.
SINCE_S: Final = 3.0
# Fewer than may wait for a follower, and a pause before the next: who reads as fast as it comes is never cut.
BATCH: Final = 100
PAUSE_S: Final = 0.05
# Messages that wait for one follower, of a kilobyte or so, shared with all others.
WAITING: Final = 256
# Followers of one instance: some 60 KiB each where they do not read, in a container of 256 MiB.
MOST: Final = 1000
RETRY_AFTER_S: Final = 5.0
_LOG = logging.getLogger("torpor.status")


class TooManyFollowers(Retry):
    """This instance has as many followers as it takes"""


@dataclass(frozen=True, slots=True)
class Message:
    """The bytes of one server-sent event, and what decides who gets it. position: its id, 0 without one."""

    text: bytes
    model_uuid: str | None
    model_name: str | None
    asker: str | None = None
    position: int = 0


Wanted = Callable[[Message], bool]


@dataclass(slots=True, eq=False)
class Follower:
    """One stream: what waits for it, from `since` on. cut: it is too slow, and gets nothing any more."""

    wanted: Wanted
    since: int
    cut: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: deque[Message] = field(default_factory=deque)
    _there: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, message: Message) -> None:
        """Take a message, unless too many wait already."""
        if len(self._waiting) >= WAITING:
            self._waiting.clear()
            self.cut.set()
        elif not self.cut.is_set():
            self._waiting.append(message)
            self._there.set()

    async def next(self) -> Message:
        """The next message."""
        while not self._waiting:
            self._there.clear()
            await self._there.wait()
        return self._waiting.popleft()


class Newsroom:
    """All followers of one instance."""

    def __init__(self, db: Rows, *, period_s: float = PERIOD_S, most: int = MOST) -> None:
        self._db = db
        self._period_s = period_s
        self._most = most
        self._followers: set[Follower] = set()
        self._position = 0
        self._shown: dict[str, bytes] = {}
        self._looking: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    @property
    def followers(self) -> int:
        """How many there are."""
        return len(self._followers)

    @contextlib.asynccontextmanager
    async def following(self, after: int | None, wanted: Wanted) -> AsyncIterator[Follower]:
        """A follower while the context is open. after: what it has seen. Raises TooManyFollowers, Retry."""
        if len(self._followers) >= self._most:
            raise TooManyFollowers(RETRY_AFTER_S, "try again in a moment, or read the records instead")
        follower = await self._add(after, wanted)
        try:
            yield follower
        finally:
            self._followers.discard(follower)
            if not self._followers and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def missed(self, after: int, follower: Follower) -> AsyncIterator[Message]:
        """The news between what a follower has seen and where it began to follow."""
        while after < follower.since:
            rows = await feed.after(self._db, after, follower.since, BATCH)
            for row in rows:
                message = _news(row)
                if follower.wanted(message):
                    yield message
            after = rows[-1]["id"] if len(rows) == BATCH else follower.since

    async def _add(self, after: int | None, wanted: Wanted) -> Follower:
        async with self._lock:
            if self._looking is None:
                self._position = await feed.newest(self._db)
            elif after is not None and after > self._position:
                # Another instance has looked more lately than this one.
                await self._look_for_news()
            follower = Follower(wanted, self._position)
            self._followers.add(follower)
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            return follower

    async def _look(self) -> None:
        while True:
            try:
                async with self._lock:
                    await self._look_for_news()
                await self._look_for_changes()
            except Problem as problem:
                _LOG.warning("nothing can be told to %d followers: %s", len(self._followers), problem.detail)
            except Exception:  # noqa: BLE001  # logged
                # A bug in one look is none in the next, and who follows would never hear of either.
                _LOG.exception("nothing can be told to %d followers", len(self._followers))
            await asyncio.sleep(self._period_s)

    async def _look_for_news(self) -> None:
        while rows := await feed.after(self._db, self._position, None, BATCH):
            for row in rows:
                self._tell(_news(row))
            self._position = rows[-1]["id"]
            if len(rows) < BATCH:
                break
            await asyncio.sleep(PAUSE_S)

    async def _look_for_changes(self) -> None:
        """Tell the records that differ from what was told last; what is no longer looked at is forgotten."""
        now = datetime.now(UTC)
        told: dict[str, bytes] = {}
        for message in _records(await models.changing_models(self._db, SINCE_S, now)):
            told[f"model {message.model_uuid}"] = self._tell_changed("model", message)
        for server in await servers.changing_servers(self._db, SINCE_S):
            text = _sse("server", msgspec.json.encode(server))
            message = Message(text, server.model_uuid, server.model_name)
            told[f"server {server.uuid}"] = self._tell_changed("server", message, server.uuid)
        self._shown = told

    def _tell_changed(self, kind: str, message: Message, uuid: str | None = None) -> bytes:
        if self._shown.get(f"{kind} {uuid or message.model_uuid}") != message.text:
            self._tell(message)
        return message.text

    def _tell(self, message: Message) -> None:
        for follower in self._followers:
            if follower.wanted(message):
                follower.offer(message)


def _records(views: Iterable[models.ModelView]) -> Iterable[Message]:
    for view in views:
        yield Message(_sse("model", msgspec.json.encode(view)), view.uuid, view.name)


def _news(row: Any) -> Message:
    view = feed.news_view(row)
    text = _sse(view.type, msgspec.json.encode(view), view.id)
    return Message(text, view.model_uuid, view.model_name, row["asker"], view.id)


def _sse(event: str, data: bytes, position: int | None = None) -> bytes:
    """One event of a stream. JSON holds no line break, so one data line carries it."""
    head = f"id: {position}\n" if position is not None else ""
    return f"{head}event: {event}\ndata: ".encode() + data + b"\n\n"
