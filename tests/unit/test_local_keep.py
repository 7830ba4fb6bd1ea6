"""The servers of the runtime are kept running: a start that fails is not the last one."""

import asyncio
import subprocess
from dataclasses import dataclass, field

from kn_model.local.data.dependencies import keep
from kn_model.local.data.postgres import PostgresError


class Enough(Exception):
    """The test has seen what it wanted."""


@dataclass
class Dying:
    """A server that ends at once, and whose second start fails, as PostgreSQL's when it is killed while it recovers."""

    name: str = "PostgreSQL"
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    pauses: list[float] = field(default_factory=list)

    async def start(self) -> None:
        """Start what ends at once."""
        self.starts += 1
        self.process = subprocess.Popen(["/bin/true"])  # noqa: ASYNC220  # it is over at once
        if self.starts == 2:
            raise PostgresError("it was killed while it recovered")

    async def stop(self) -> None:
        """It has ended."""

    async def sleep(self, pause_s: float) -> None:
        """Remember the pause instead of taking it."""
        self.pauses.append(pause_s)
        if len(self.pauses) == 4:
            raise Enough


async def test_a_start_that_fails_is_tried_again_after_a_longer_pause() -> None:
    """One failed restart of PostgreSQL does not end the runtime, and every pause is longer than the one before."""
    server, told = Dying(), list[str]()
    await server.start()
    outcome = await asyncio.gather(keep(server, told.append, server.sleep), return_exceptions=True)
    assert (Enough, 4, [1.0, 2.0, 4.0, 8.0]) == (type(outcome[0]), server.starts, server.pauses)
    assert "it was killed while it recovered" in told
