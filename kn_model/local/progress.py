"""Tells the person in front of the terminal what is going on. Called by the supervisor."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

Say = Callable[[str], None]

# Longer silence reads as a hang.
SILENCE_S: Final = 3.0


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@asynccontextmanager
async def step(what: str, tell: Say = say) -> AsyncIterator[None]:
    """Tell when a step is done and how long it took, and every few seconds that it still goes on."""
    began = time.monotonic()
    reminder = asyncio.create_task(_remind(what, tell, began))
    try:
        yield
    finally:
        reminder.cancel()
    tell(f"  {what}: {time.monotonic() - began:.1f} s")


async def _remind(what: str, tell: Say, began: float) -> None:
    while True:
        await asyncio.sleep(SILENCE_S)
        tell(f"  {what} ... ({time.monotonic() - began:.0f} s)")
