"""Sends events to the Broker over HTTP: what every function gives its Bus."""

from collections.abc import Mapping
from typing import Any, Final

from functions.kit.bus import PublishError

# The Broker answers in milliseconds; a call must not hang on one that does not.
PUBLISH_TIMEOUT_S: Final = 5.0


class HttpPublisher:
    """Publishes over HTTP to the Broker's address, on one kept-alive session opened at first use."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: Any = None

    async def __call__(self, headers: Mapping[str, str], data: bytes) -> None:
        """POST one event. Raises PublishError for any answer but 2xx, and for none."""
        import aiohttp

        # Knative's own data plane follows the header, not the attribute.
        context = {"traceparent": headers["ce-traceparent"]} if "ce-traceparent" in headers else {}
        try:
            async with self._open().post(self._url, data=data, headers={**headers, **context}) as response:
                if response.status // 100 != 2:  # noqa: PLR2004  # the class of success
                    raise PublishError(f"the Broker answered {response.status}")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise PublishError(f"the Broker does not answer: {type(error).__name__}") from error

    async def close(self) -> None:
        """Close the session, for a process that ends on purpose."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> Any:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PUBLISH_TIMEOUT_S))
        return self._session
