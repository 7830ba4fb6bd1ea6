"""Saying what takes long: a first line after three seconds, then one from time to time. Used by chat, up and the demo."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

# People take less for «at once»; the issue tracker asks for a word after that.
FIRST_S: Final = 3.0
NEXT_S: Final = 5.0

Say = Callable[[str], None]


@contextmanager
def announced(what: str, say: Say, *, first_s: float = FIRST_S, next_s: float = NEXT_S) -> Iterator[threading.Event]:
    """While the block runs longer than `first_s` seconds, say `what` and then how long it has taken so far.

    Answers an event; setting it ends the saying early, as when the first word of an answer is there.
    """
    done = threading.Event()
    started = time.monotonic()

    def speak() -> None:
        if done.wait(first_s):
            return
        say(f"{what} ...")
        while not done.wait(next_s):
            say(f"{what} ... {time.monotonic() - started:.0f} s so far")

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    try:
        yield done
    finally:
        done.set()
        speaker.join()
