"""Delivery settings, the back-off schedule and the verdict on an answer."""

from datetime import UTC, datetime
from typing import Any

import pytest

from kn_model.local.eventing.delivery import (
    NEITHER,
    Answer,
    Delivered,
    Delivery,
    Failed,
    effective,
    error_extensions,
    judge,
    passed_on,
    pause,
    seconds,
)

A_YEAR = 365 * 86400.0
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SINK = {"ref": {"kind": "Service", "name": "status"}}
BROKER = {
    "retry": 5,
    "backoffPolicy": "exponential",
    "backoffDelay": "PT1S",
    "timeout": "PT60S",
    "deadLetterSink": SINK,
}
NOT_JSON = b"the body is not a JSON object: Expected `object`, got `array`"
REPLY = {"ce-specversion": "1.0", "ce-id": "2", "ce-source": "/s", "ce-type": "t"}


@pytest.mark.parametrize(
    ("broker", "trigger", "found"),
    [
        (None, None, Delivery()),
        (BROKER, None, Delivery(5, True, 1.0, 60.0, SINK)),
        (BROKER, {"retry": 2}, Delivery(2, True, 0.0, None, SINK)),
        (BROKER, {"deadLetterSink": {"uri": "http://x"}}, Delivery(0, True, 0.0, None, {"uri": "http://x"})),
        (None, {"retry": 3, "backoffPolicy": "linear", "backoffDelay": "PT2S"}, Delivery(3, False, 2.0)),
        (None, {"retry": 3, "backoffDelay": "PT2S"}, Delivery(3, True, 0.0)),
    ],
)
def test_a_triggers_delivery_replaces_the_brokers(broker: Any, trigger: Any, found: Delivery) -> None:
    """Only the dead letter sink falls back; a delay without a policy is none.

    Source: eventing 1.23 `pkg/reconciler/subscription/subscription.go`, deliverySpec; `pkg/kncloudevents/retries.go`.
    """
    assert effective(broker, trigger) == found


@pytest.mark.parametrize(
    ("delivery", "schedule"),
    [
        (Delivery(5, True, 0.2), [0.2, 0.4, 0.8, 1.6, 3.2]),
        (Delivery(5, False, 2.0), [0.0, 2.0, 4.0, 6.0, 8.0]),
        (Delivery(5, True, 0.0), [0.0, 0.0, 0.0, 0.0, 0.0]),
        (Delivery(5, False, 1e9), [0.0, A_YEAR, A_YEAR, A_YEAR, A_YEAR]),
    ],
)
def test_pauses_grow_as_the_policy_says(delivery: Delivery, schedule: list[float]) -> None:
    """Exponential doubles from the delay; linear starts at once; none is longer than a clock can say.

    Source: eventing 1.23 `pkg/kncloudevents/retries.go`, RetryConfigFromDeliverySpec.
    """
    assert [pause(delivery, failures) for failures in range(1, 6)] == schedule


def test_however_many_failures_a_pause_is_a_number() -> None:
    """A retry of thousands does not overflow."""
    assert pause(Delivery(10_000, True, 0.2), 9_999) == A_YEAR


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(204, {}), Delivered()),
        (Answer(202, {}), Delivered()),
        (Answer(200, {"content-type": "application/json"}, b'{"ok":true}'), Failed(502, True, NEITHER)),
        (Answer(200, {**REPLY, "ce-id": ""}), Failed(502, True, b"the attribute id is missing")),
        (Answer(0, {}, b"refused"), Failed(0, True, b"refused")),
        (Answer(301, {}), Failed(301, False)),
        (Answer(400, {}, b"never"), Failed(400, False, b"never")),
        (Answer(401, {}), Failed(401, False)),
        (Answer(404, {}), Failed(404, True)),
        (Answer(408, {}), Failed(408, True)),
        (Answer(409, {}), Failed(409, True)),
        (Answer(422, {}), Failed(422, False)),
        (Answer(429, {"retry-after": "7"}), Failed(429, True, b"", 7.0)),
        (Answer(500, {"retry-after": "7"}), Failed(500, True)),
        (Answer(503, {"retry-after": "99999"}), Failed(503, True, b"", 300.0)),
        (Answer(503, {"retry-after": "Fri, 02 Jan 2026 03:04:15 GMT"}), Failed(503, True, b"", 10.0)),
        (Answer(503, {"retry-after": "Fri, 02 Jan 2026 03:04:00 GMT"}), Failed(503, True)),
        (Answer(503, {"retry-after": "soon"}), Failed(503, True)),
        (Answer(429, {"retry-after": "-7"}), Failed(429, True)),
        (Answer(100, {}), Failed(100, False)),
        (Answer(410, {}), Failed(410, False)),
        (Answer(413, {}), Failed(413, False)),
        (Answer(599, {}), Failed(599, True)),
        (Answer(200, {"content-type": "application/cloudevents+json"}, b"[]"), Failed(502, True, NOT_JSON)),
    ],
)
def test_an_answer_means_what_it_means_to_knative(answer: Answer, outcome: Delivered | Failed) -> None:
    """Empty 2xx is taken; a 2xx with anything but an event is a 502; only some failures are worth another attempt.

    Source: eventing 1.23 `pkg/kncloudevents/retries.go`, SelectiveRetry, and `filter_handler.go`, writeResponse. Beyond it:
    Retry-After is honoured up to 300 s, as with `retryAfterMax: PT300S`, which a fresh installation refuses.
    """
    assert judge(answer, NOW) == outcome


def test_an_event_in_the_answer_is_a_reply() -> None:
    """Both modes of a reply are understood."""
    structured = b'{"specversion":"1.0","id":"2","source":"/s","type":"t"}'
    binary = judge(Answer(200, REPLY), NOW)
    assert judge(Answer(200, {"content-type": "application/cloudevents+json"}, structured), NOW) == binary
    assert isinstance(binary, Delivered)
    assert binary.reply is not None
    assert binary.reply.attributes == {"specversion": "1.0", "id": "2", "source": "/s", "type": "t"}


def test_error_data_is_cut() -> None:
    """The dead letter carries at most 1024 characters of what the subscriber said."""
    found = error_extensions("http://x", Failed(500, True, b"x" * 5000))
    assert (found["knativeerrordest"], found["knativeerrorcode"], len(found["knativeerrordata"])) == (
        "http://x",
        "500",
        1024,
    )


def test_no_answer_is_a_500_to_the_dead_letter_sink() -> None:
    """With the reason as its data (`pkg/kncloudevents/event_dispatcher.go`, executeRequest)."""
    found = error_extensions("http://x", Failed(0, True, b"refused"))
    assert (found["knativeerrorcode"], found["knativeerrordata"]) == ("500", "cmVmdXNlZA==")


def test_headers_that_trace_an_event_go_on_with_it_and_no_others() -> None:
    """Source: eventing 1.23 `pkg/utils/headers.go`; the trace context is what its tracers carry on."""
    kept = {"x-request-id": "1", "knative-tag": "2", "x-b3-traceid": "3", "traceparent": "4", "tracestate": "5"}
    dropped = {
        "authorization": "Bearer x",
        "cookie": "x",
        "x-api-key": "x",
        "kn-namespace": "x",
        "ce-id": "x",
        "host": "x",
        "x-forwarded-for": "x",
    }
    odd = {"Knative-Odd": "a\udce9", "X-Request-ID": "1"}
    assert passed_on({**dropped, **kept}) == kept
    assert passed_on(odd) == {"x-request-id": "1"}


@pytest.mark.parametrize(
    ("text", "found"), [("PT0.2S", 0.2), ("PT1M", 60.0), ("PT1H2M3S", 3723.0), ("P1DT1S", 86401.0), ("PT10S", 10.0)]
)
def test_durations_are_iso_8601(text: str, found: float) -> None:
    """Days and smaller, as Knative takes them."""
    assert seconds(text) == found


@pytest.mark.parametrize("text", ["", "P", "PT", "10s", "P1Y", "-PT1S", "PT1S "])
def test_other_durations_are_refused(text: str) -> None:
    """What is no duration is an error, not zero."""
    with pytest.raises(ValueError, match="ISO 8601"):
        seconds(text)
