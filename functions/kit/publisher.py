"""Sends events to the Broker over HTTP: what every function gives its Bus."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

# The Broker answers in milliseconds; a call must not hang on one that does not.
PUBLISH_TIMEOUT_S: Final = 5.0
# What is said of the event itself. 401 and 403 speak of us, and 404 of a Broker that is not there yet: they may pass.
_OF_THE_EVENT: Final = frozenset({400, 413, 415, 422})
# Of the answer, for a person to read.
_REASON_CHARACTERS: Final = 300


class Publisher(Protocol):
    """Sends one event to the Broker; raises PublishError when the Broker did not accept it."""

    async def __call__(self, headers: Mapping[str, str], data: bytes) -> None:
        """Send one event in binary mode."""


class PublishError(Exception):
    """The Broker did not accept an event; the outbox keeps it."""


class Unacceptable(PublishError):
    """The Broker says of the event itself that it will never take it; sending it again cannot help."""

    def __init__(self, reason: str, broker: str, status: int) -> None:
        super().__init__(reason)
        self.broker = broker
        self.status = status


class HttpPublisher:
    """Publishes over HTTP to the Broker's address, on one kept-alive session opened at first use."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: Any = None

    async def __call__(self, headers: Mapping[str, str], data: bytes) -> None:
        """POST one event. Raises PublishError for any answer but 2xx, and for none; Unacceptable when it is final."""
        import aiohttp

        # Knative's own data plane follows the header, not the attribute.
        context = {"traceparent": headers["ce-traceparent"]} if "ce-traceparent" in headers else {}
        try:
            sending = self._open().post(self._url, data=data, headers={**headers, **context}, allow_redirects=False)
            async with sending as response:
                if response.status in _OF_THE_EVENT:
                    said = (await response.text(errors="replace"))[:_REASON_CHARACTERS].replace("\x00", "").strip()
                    raise Unacceptable(f"the Broker answered {response.status}: {said}", self._url, response.status)
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
