"""The laptop runtime as one process: takes its folder, runs until a signal or a failure, ends in bounded time.

Called by `kn model up`: `run(Options(...))` returns the exit code. What it starts is in `runtime.py`.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

from kn_model.local import child, ports, runtime
from kn_model.local.apply import ManifestError
from kn_model.local.data.account import NoAccountError
from kn_model.local.data.dependencies import DependencyError
from kn_model.local.data.postgres import PostgresError
from kn_model.local.data.seaweed import SeaweedError
from kn_model.local.jobs import JobFailed
from kn_model.local.options import Options
from kn_model.local.render import RenderError
from kn_model.local.state import FolderError, State

# An orderly stop that takes longer is cut short; whatever is left dies with us and recovers at the next start.
STOP_S: Final = 15.0
# What a person can do something about: told in words, without a traceback.
FAILURES: Final = (
    FolderError,
    DependencyError,
    PostgresError,
    SeaweedError,
    NoAccountError,
    RenderError,
    ManifestError,
    JobFailed,
)

__all__ = ["Options", "run"]

_LOG = logging.getLogger(__name__)


class PortTaken(FolderError):
    """The front door's port is in use"""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} is in use by another program: end that one, or choose another with --port")


def run(options: Options) -> int:
    """Run until a signal or a failure: 0 after an orderly stop, 1 with a message on standard error."""
    state = State(options.folder.resolve())
    try:
        with state.lock():
            if strays := child.end_strays(state.logs):
                options.tell(f"ended {strays} processes that an earlier run had left")
            if not ports.is_free(options.port):
                raise PortTaken(options.port)
            _log_to(state)
            asyncio.run(_until_stopped(state, options))
    except FAILURES as error:
        sys.stderr.write(f"kn model up: {error}\n")
        return 1
    return 0


async def _until_stopped(state: State, options: Options) -> None:
    stopping = asyncio.Event()
    _on_signals(stopping, options)
    stack = AsyncExitStack()
    try:
        await _first(stopping, _work(stack, state, options))
    finally:
        options.tell("stopping")
        await _end(stack)
    options.tell("stopped; everything is kept in " + str(state.folder))


async def _work(stack: AsyncExitStack, state: State, options: Options) -> None:
    """Start everything, then watch over it; returns never, raises when something breaks for good."""
    running = await runtime.start(stack, state, options)
    await asyncio.gather(*running)


async def _first(stopping: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Work until somebody asks to stop."""
    working = asyncio.create_task(work)
    asked = asyncio.create_task(stopping.wait())
    await asyncio.wait((working, asked), return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if not working.done():
        working.cancel()
    with suppress(asyncio.CancelledError):
        await working


async def _end(stack: AsyncExitStack) -> None:
    """Close in the opposite order; what hangs is left to the kernel, which ends our children with us."""
    try:
        async with asyncio.timeout(STOP_S):
            await stack.aclose()
    except TimeoutError:
        _LOG.exception("an orderly stop took longer than %.0f s", STOP_S)


def _on_signals(stopping: asyncio.Event, options: Options) -> None:
    """The first signal stops in order, the second at once: the kernel then ends our children."""

    def asked() -> None:
        if stopping.is_set():
            options.tell("stopping at once")
            os._exit(1)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, asked)


def _log_to(state: State) -> None:
    """The runtime's own log, beside those of what it runs."""
    state.logs.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=state.logs / "runtime.log",
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
