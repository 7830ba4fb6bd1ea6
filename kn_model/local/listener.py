"""Listens on loopback with an aiohttp application. Called by the supervisor for the front door and the API."""

import ssl
from typing import Final

from aiohttp import web

LOOPBACK: Final = "127.0.0.1"
SHUTDOWN_S: Final = 2.0
"""Open calls get this long when the runtime stops; a stalled client does not hold it up."""


async def listen(
    app: web.Application, port: int, host: str = LOOPBACK, *, tls: ssl.SSLContext | None = None
) -> web.AppRunner:
    """Listen on `port` (0 chooses one; `port_of` tells it). OSError when it is taken. End it with `cleanup()`.

    A handler is cancelled when its caller hangs up: nothing goes on working for nobody.
    """
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls, backlog=1024).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner


def port_of(runner: web.AppRunner) -> int:
    """The port that a runner listens on."""
    return int(runner.addresses[0][1])
