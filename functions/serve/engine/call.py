"""One generating request at the edge, from its authorisation to its usage record. Made by `middleware` for each."""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from functions.kit.events import UsageRecord
from functions.kit.identity import Identity
from functions.serve.engine.meter import Meter

Message: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

# What the caller of a broken connection would have seen; nginx's number for it.
CLIENT_CLOSED: Final = 499
_FIRST_ERROR: Final = 400
_FAILED: Final = 500
_STREAM: Final = b"text/event-stream"


class Call:
    """What a request asked for, how it was answered, and what that used."""

    def __init__(self, request_id: str, caller: Identity, model_name: str, choices: int, revision: str = "") -> None:
        self.request_id = request_id
        self._caller = caller
        self._model_name = model_name
        self._choices = choices
        self._revision = revision
        self._streamed = False
        self._first_token_ms: int | None = None
        self._meter = Meter(streamed=False)
        self._started_at = datetime.now(UTC)
        self._started = time.monotonic()
        self._status = CLIENT_CLOSED
        self._complete = False
        self._left = False

    def watch(self, send: Send) -> Send:
        """A `send` that passes every message on untouched and notes what it carried."""

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = self._begin(message)
            elif message["type"] == "http.response.body":
                self._feed(message.get("body", b""))
                self._complete = not message.get("more_body", False)
            await send(message)

        return watched

    def _begin(self, message: Message) -> Message:
        """Note the status and whether it is a stream (what the request asked for is only a wish); add the id."""
        headers = [*message.get("headers", ())]
        self._status = message["status"]
        self._streamed = any(name == b"content-type" and value.startswith(_STREAM) for name, value in headers)
        self._meter = Meter(streamed=self._streamed, choices=self._choices)
        return {**message, "headers": [*headers, (b"x-request-id", self.request_id.encode())]}

    def _feed(self, part: bytes) -> None:
        if part and self._streamed and self._first_token_ms is None:
            self._first_token_ms = self._elapsed_ms()
        self._meter.feed(part)

    def fail(self) -> None:
        """The engine raised: whoever is still there gets 500 of the server around it, or a torn stream."""
        self._status, self._complete = _FAILED, True

    def leave(self) -> None:
        """The caller hung up. vLLM ends a whole answer that nobody reads as an empty 200, which nobody has met."""
        self._left = not self._complete

    @property
    def worth_recording(self) -> bool:
        """Errors of the request itself used nothing and say nothing of the revision; those of the engine do."""
        return self._status < _FIRST_ERROR or self._status == CLIENT_CLOSED or self._status >= _FAILED

    def record(self) -> UsageRecord:
        """What was used, as far as the engine had counted when the answer ended or was cut off."""
        prompt_tokens, completion_tokens = self._meter.tokens()
        return UsageRecord(
            request_id=self.request_id,
            subject=self._caller.subject,
            key_id=self._caller.key_id,
            model_name=self._model_name,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            started_at=self._started_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            duration_ms=self._elapsed_ms(),
            status=self._outcome(),
            streamed=self._streamed,
            revision=self._revision,
            first_token_ms=self._first_token_ms,
        )

    def _outcome(self) -> int:
        """The status as the caller met it; an error inside a stream comes after its 200."""
        if self._left or not self._complete:
            return CLIENT_CLOSED
        return _FAILED if self._meter.failed() else self._status

    def _elapsed_ms(self) -> int:
        return round((time.monotonic() - self._started) * 1000)
