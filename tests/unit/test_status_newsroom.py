"""Who follows hears on, whatever one look at the database came to."""

import asyncio
from typing import Any

from functions.status.newsroom import Newsroom


class Faulty:
    """A database in which each look meets a bug, and is counted."""

    def __init__(self) -> None:
        self.looks = 0
        self.again = asyncio.Event()

    async def fetchval(self, *_: Any) -> int:
        """The newest piece of news."""
        return 0

    async def fetchrow(self, *_: Any) -> None:
        """Nothing."""

    async def execute(self, *_: Any) -> str:
        """Nothing."""
        return ""

    async def fetch(self, *_: Any) -> list[Any]:
        """A bug."""
        self.looks += 1
        if self.looks > 1:
            self.again.set()
        raise RuntimeError("a bug")


async def test_a_bug_in_one_look_does_not_end_the_others(caplog: Any) -> None:
    """It is in the log, and the next look comes."""
    faulty = Faulty()
    room = Newsroom(faulty, period_s=0.01)
    async with room.following(None, lambda _: True):
        await asyncio.wait_for(faulty.again.wait(), 5)
    assert "nothing can be told to 1 followers" in caplog.text
