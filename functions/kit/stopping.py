"""The moment in which the process is asked to end (SIGTERM), for what would otherwise wait for its clients.

The server stops taking connections then and waits for the open ones; a stream without an end has to end itself.
"""

import asyncio
import contextlib
import signal
import threading


def announced() -> asyncio.Event:
    """An event of the running loop that SIGTERM sets; the server's own handler runs after it, as without us.

    Never set where no server handles the signal: outside the main thread, or in a test's process.
    """
    stopping = asyncio.Event()
    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        return stopping
    then, loop = before, asyncio.get_running_loop()

    def announce(number: int, frame: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(stopping.set)
        then(number, frame)  # type: ignore[arg-type]  # the frame of the interpreter, handed on

    signal.signal(signal.SIGTERM, announce)
    return stopping
