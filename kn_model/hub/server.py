"""The hub as a running server: one loopback address for the API, a second one for content, as on the real hub.

Two addresses keep clients honest: a token that is meant for the hub must not follow a redirect to the content host.
"""

from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from kn_model.hub.app import build
from kn_model.hub.repository import Repositories


class Hub:
    """Serves the repositories under `root` while its context is open. port 0 takes a free one."""

    def __init__(self, root: Path, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._host = host
        self._port = port
        self._runner = web.AppRunner(build(Repositories(root), lambda: self.content_url), access_log=None)

    @property
    def url(self) -> str:
        """What to give a client as the hub's endpoint."""
        return self._address(0)

    @property
    def content_url(self) -> str:
        """Where redirects lead."""
        return self._address(1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        await web.TCPSite(self._runner, self._host, 0).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    def _address(self, site: int) -> str:
        host, port = self._runner.addresses[site][:2]
        return f"http://{host}:{port}"
