"""The function `download` as a process that can be killed every second: forked from one that has everything imported.

The same app that `main.py` builds, behind uvicorn; multiprocessing's fork server keeps the imports warm.
"""

import asyncio
import contextlib
import logging
import multiprocessing
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from typing import Final

CONTEXT: Final = multiprocessing.get_context("forkserver")
# Of a loaded machine.
START_S: Final = 60.0
CONTEXT.set_forkserver_preload(
    [
        "uvicorn",
        "boto3",
        "botocore.client",
        "asyncpg",
        "aiohttp",
        "functions.download.app",
        "functions.download.workshop",
    ]
)


def serve(environment: Mapping[str, str], port: int) -> None:
    """Runs in the child: build the function from its environment and serve it until it is killed."""
    import uvicorn

    from functions.download.app import build
    from functions.download.settings import Settings
    from functions.kit.settings import load

    app = build(load(Settings, environment))
    logging.disable(logging.CRITICAL)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="critical", access_log=False, lifespan="off")


class Function:
    """One instance, with `environment`, at `port`."""

    def __init__(self, environment: Mapping[str, str], port: int) -> None:
        self.environment = environment
        self.port = port
        self._process: ForkServerProcess | None = None

    @property
    def url(self) -> str:
        """Where it takes events."""
        return f"http://127.0.0.1:{self.port}/events"

    def start(self) -> None:
        """Fork it; it listens a moment later."""
        self._process = CONTEXT.Process(target=serve, args=(dict(self.environment), self.port), daemon=True)
        self._process.start()

    async def listens(self) -> None:
        """Until it takes connections. Raises TimeoutError."""
        async with asyncio.timeout(START_S):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                await asyncio.sleep(0.01)

    def kill(self) -> None:
        """Kill -9, and wait for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
