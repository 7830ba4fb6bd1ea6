"""How an event is delivered: Knative's `delivery` settings, the back-off schedule and the verdict on an answer. Pure.

Called by the broker's dispatcher and by the sources. Source: Knative Eventing 1.23, `pkg/apis/duck/v1/delivery_types.go`,
`pkg/kncloudevents/retries.go` and `pkg/broker/filter/filter_handler.go`.
"""

import base64
import email.utils
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from kn_model.local.eventing.cloudevent import CloudEvent, NotACloudEvent, parse

# The settings allow pauses longer than any clock; nobody waits longer than a year.
LONGEST_PAUSE_S: Final = 365 * 86400.0
# Doubling ends here, where every delay has reached the longest pause and no number overflows yet.
MOST_DOUBLINGS: Final = 64
# Retried besides 5xx. 409 is how a subscriber says "in progress, come again".
RETRYABLE: Final = frozenset({404, 408, 409, 429})
# No answer at all; a dead letter says 500, and why in its data (`pkg/kncloudevents/event_dispatcher.go`).
NO_ANSWER: Final = 0
INTERNAL_ERROR: Final = 500
# What a broker on a cluster makes of a 2xx whose body is neither empty nor an event.
BAD_GATEWAY: Final = 502
NEITHER: Final = b"the response must be either empty or a valid CloudEvent"
# A subscriber may ask for a pause, but not park an event for a day.
RETRY_AFTER_CAP_S: Final = 300.0
# `knativeerrordata` carries at most this many characters (`pkg/channel/attributes/knative_error.go`).
ERROR_DATA_CHARACTERS: Final = 1024

_PASSED_ON: Final = frozenset({"x-request-id", "retry-after", "traceparent", "tracestate"})
_PASSED_ON_PREFIXES: Final = ("knative-", "x-b3-")

_DURATION = re.compile(
    r"P(?:(?P<days>\d+(?:\.\d+)?)D)?"
    r"(?:T(?:(?P<hours>\d+(?:\.\d+)?)H)?(?:(?P<minutes>\d+(?:\.\d+)?)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)
_SECONDS_IN: Final = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}


@dataclass(frozen=True, slots=True)
class Delivery:
    """Delivery settings in force: `retry` more attempts after the first, pauses and timeout in seconds."""

    retry: int = 0
    exponential: bool = True
    delay_s: float = 0.0
    timeout_s: float | None = None
    dead_letter_sink: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a subscriber answered; status 0 when it did not."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The subscriber took the event; its reply, if it gave one, goes back to the broker with its headers."""

    reply: CloudEvent | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """The subscriber did not take the event: the status to report, and whether another attempt can help."""

    status: int
    retryable: bool
    data: bytes = b""
    # What the subscriber asked for (Retry-After), seconds.
    pause_s: float = 0.0

    @property
    def answered(self) -> bool:
        """Whether there was an answer at all."""
        return self.status != NO_ANSWER


# Our own fault: the event is tried again, and ends with the dead letters if that does not help.
BUG: Final = Failed(INTERNAL_ERROR, retryable=True, data=b"the broker could not send it")


def effective(broker: Mapping[str, Any] | None, trigger: Mapping[str, Any] | None) -> Delivery:
    """The settings for a Trigger: its own replace the Broker's whole; only the dead letter sink falls back."""
    chosen = broker if trigger is None else trigger
    settings = chosen or {}
    sink = settings.get("deadLetterSink") or (broker or {}).get("deadLetterSink")
    # Without both of policy and delay, Knative retries at once.
    paced = "backoffPolicy" in settings and "backoffDelay" in settings
    return Delivery(
        retry=settings.get("retry", 0),
        exponential=settings.get("backoffPolicy") != "linear",
        delay_s=seconds(settings["backoffDelay"]) if paced else 0.0,
        timeout_s=seconds(settings["timeout"]) if "timeout" in settings else None,
        dead_letter_sink=sink,
    )


def pause(delivery: Delivery, failures: int) -> float:
    """Seconds to wait after the `failures`-th failed attempt (1 is the first): delay*2^n or delay*n, n from 0."""
    n = failures - 1
    grown = delivery.delay_s * (2.0 ** min(n, MOST_DOUBLINGS) if delivery.exponential else n)
    return min(grown, LONGEST_PAUSE_S)


def judge(answer: Answer, now: datetime) -> Delivered | Failed:
    """What an answer means for the event."""
    if not 200 <= answer.status < 300:  # noqa: PLR2004 - the class of success
        retryable = answer.status >= 500 or answer.status in RETRYABLE or answer.status == NO_ANSWER  # noqa: PLR2004
        return Failed(answer.status, retryable, answer.body, _asked_pause(answer, now))
    if not _is_event(answer):
        return Failed(BAD_GATEWAY, retryable=True, data=NEITHER) if answer.body else Delivered()
    try:
        return Delivered(parse(answer.headers, answer.body), passed_on(answer.headers))
    except NotACloudEvent as error:
        return Failed(BAD_GATEWAY, retryable=True, data=str(error).encode())


def error_extensions(destination: str, failed: Failed) -> dict[str, str]:
    """The attributes that tell a dead letter sink where, how and with what words the event failed."""
    data = base64.b64encode(failed.data).decode()[:ERROR_DATA_CHARACTERS]
    code = failed.status if failed.answered else INTERNAL_ERROR
    found = {"knativeerrordest": destination, "knativeerrorcode": str(code)}
    return found | ({"knativeerrordata": data} if data else {})


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """The HTTP headers that go on with an event: those that trace it. No credentials, ever (`pkg/utils/headers.go`).

    The trace context's own two are not in that list: on a cluster the tracer of each hop writes them.
    """
    return {
        name.lower(): value
        for name, value in headers.items()
        if (name.lower() in _PASSED_ON or name.lower().startswith(_PASSED_ON_PREFIXES))
        and value.isascii()
        and value.isprintable()
    }


def seconds(duration: str) -> float:
    """An ISO 8601 duration of days and smaller, as Knative takes it, in seconds. ValueError for anything else."""
    match = _DURATION.fullmatch(duration)
    parts = {name: text for name, text in match.groupdict().items() if text} if match else {}
    if not parts:
        raise ValueError(f"not an ISO 8601 duration: {duration!r}")
    return sum(float(text) * _SECONDS_IN[name] for name, text in parts.items())


def _is_event(answer: Answer) -> bool:
    structured = answer.headers.get("content-type", "").startswith("application/cloudevents")
    return structured or "ce-specversion" in answer.headers


def _asked_pause(answer: Answer, now: datetime) -> float:
    """Retry-After in seconds, from either of its forms; 0 without one. Read only where it has a meaning: 429 and 503."""
    text = answer.headers.get("retry-after", "")
    if answer.status not in (429, 503) or not text:
        return 0.0
    if text.isdecimal():
        return min(float(text), RETRY_AFTER_CAP_S)
    try:
        at = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), RETRY_AFTER_CAP_S)
