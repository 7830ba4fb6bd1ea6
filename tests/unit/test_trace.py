"""Trace context: what is read, what is passed on, and which span is whose child."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from functions.kit import app, trace
from functions.kit.trace import Context, Kind, Span
from tests.unit.log_lines import log_lines

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
KNOWN = Context(TRACE, PARENT, sampled=True)
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TRACEPARENT, KNOWN),
        (f"00-{TRACE}-{PARENT}-00", Context(TRACE, PARENT)),
        # Flags that version 00 does not know are ignored.
        (f"00-{TRACE}-{PARENT}-03", KNOWN),
        (f"00-{TRACE}-{PARENT}-fe", Context(TRACE, PARENT)),
        # A newer version is read as far as version 00 goes.
        (f"cc-{TRACE}-{PARENT}-01", KNOWN),
        (f"cc-{TRACE}-{PARENT}-01-what-comes-later", KNOWN),
        (f"cc-{TRACE}-{PARENT}-01-", KNOWN),
    ],
)
def test_a_traceparent_is_read(text: str, expected: Context) -> None:
    """Trace, parent and whether it is recorded (W3C Trace Context, sections 3.2 and 4.3)."""
    assert expected == trace.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rubbish",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-001",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}-01-",
        f"00-{TRACE}-{PARENT}-01 ",
        f"00-{TRACE}-{PARENT}-01\n",
        f"00_{TRACE}_{PARENT}_01",
        f"ff-{TRACE}-{PARENT}-01",
        f"cc-{TRACE}-{PARENT}-01.what-comes-later",
        f"0-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT.upper()}-01",
        f"0A-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-0A",
        f"00-{TRACE[:-1]}g-{PARENT}-01",
        f"00-{TRACE[:-1]}-{PARENT}-01",
        f"00-{TRACE}0-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{PARENT[:-1]}-01",
        # Digits of other alphabets are none.
        f"00-{TRACE[:-1]}٣-{PARENT}-01",
    ],
)
def test_what_the_specification_forbids_is_ignored(text: str) -> None:
    """None, so that a new trace begins."""
    assert trace.parse(text) is None


def test_what_is_sent_is_read_back() -> None:
    """A context and its text are the same thing."""
    assert TRACEPARENT == str(KNOWN)
    assert KNOWN == trace.parse(str(KNOWN))


OTHER = f"00-{'1' * 32}-{'2' * 16}-00"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        ([("traceparent", TRACEPARENT)], KNOWN),
        ([("TraceParent", f" {TRACEPARENT} ")], KNOWN),
        ([("traceparent", TRACEPARENT), ("traceparent", TRACEPARENT)], None),
        ([("ce-traceparent", TRACEPARENT), ("traceparent", OTHER)], KNOWN),
        ([("ce-traceparent", "rubbish"), ("traceparent", TRACEPARENT)], KNOWN),
        ([("traceparent", "\xff")], None),
    ],
)
def test_a_call_brings_one_context(headers: list[tuple[str, str]], expected: Context | None) -> None:
    """The event's own before the delivery's; two of a name are none."""
    assert expected == trace.carried([(name.encode(), text.encode("latin-1")) for name, text in headers])


@dataclass
class Ended:
    """A recording that the test looks at."""

    context: Context
    into: list[Span]

    def end(self, span: Span) -> None:
        """Keep it."""
        self.into.append(span)


@dataclass
class Memory:
    """A Recorder that keeps ended spans."""

    ended: list[Span] = field(default_factory=list)

    def begin(self, _name: str, _kind: Kind, parent: Context | None, _began_ns: int | None) -> Ended:
        """Ids as without a collector."""
        return Ended(trace.below(parent), self.ended)


@pytest.fixture
def memory() -> Iterator[Memory]:
    """Spans of this test."""
    recorder = Memory()
    before = trace.record_with(recorder)
    yield recorder
    trace.record_with(before)


def test_a_span_inside_a_span_is_its_child(memory: Memory) -> None:
    """Same trace, the outer one's id as the parent; afterwards the outer one is at work again."""
    with trace.span("outer", Kind.SERVER, KNOWN) as outer:
        with trace.span("inner", Kind.INTERNAL) as inner:
            assert str(inner.context) == trace.current()
        assert str(outer.context) == trace.current()
    assert (KNOWN, outer.context) == (outer.parent, inner.parent)
    assert {TRACE} == {span.context.trace_id for span in memory.ended}
    assert "" == trace.trace_id()


def test_a_failure_ends_its_span(memory: Memory) -> None:
    """The span says what went wrong, and the exception goes on."""
    with pytest.raises(KeyError), trace.span("work", Kind.INTERNAL):
        raise KeyError
    assert ["KeyError"] == [span.failure for span in memory.ended]


def test_outside_of_any_span_a_new_trace_begins() -> None:
    """What leaves then has a valid traceparent, each its own, which nobody records."""
    first, second = trace.parse(trace.current()), trace.parse(trace.current())
    assert first is not None
    assert second is not None
    assert first.trace_id != second.trace_id
    assert not first.sampled


async def _answer(_: Request) -> Response:
    logging.getLogger("torpor.test").info("inside")
    return Response(trace.current())


async def _event(request: Request) -> Response:
    with trace.following("process it", request.query_params["traceparent"]) as span:
        return Response(str(span.context))


async def _bug(_: Request) -> Response:
    raise KeyError("a bug")


def _client() -> httpx.AsyncClient:
    routes = [Route("/orders/{id}", _answer), Route("/events", _event, methods=["POST"]), Route("/bug", _bug)]
    transport = httpx.ASGITransport(app.build(routes, ready={}))
    return httpx.AsyncClient(transport=transport, base_url="http://function")


async def test_a_call_is_a_span_of_the_trace_that_it_brings(memory: Memory) -> None:
    """A child of the caller's span, named by its route, with the status."""
    async with _client() as client:
        answer = await client.get("/orders/7", headers={"traceparent": TRACEPARENT})
    (span,) = memory.ended
    assert (str(span.context), KNOWN, Kind.SERVER) == (answer.text, span.parent, span.kind)
    assert ("GET /orders/{id}", 200, "") == (span.name, span.attributes["http.response.status_code"], span.failure)


@pytest.mark.parametrize("header", [{}, {"traceparent": f"00-{'0' * 32}-{PARENT}-01"}])
async def test_a_call_without_a_trace_begins_one(memory: Memory, header: dict[str, str]) -> None:
    """Nothing usable came: a root."""
    async with _client() as client:
        await client.get("/orders/7", headers=header)
    assert [None] == [span.parent for span in memory.ended]


async def test_a_bug_is_a_failed_span(memory: Memory) -> None:
    """The span fails with the status that the caller sees."""
    async with _client() as client:
        await client.get("/bug")
    assert [("GET /bug", "500")] == [(span.name, span.failure) for span in memory.ended]


async def test_a_health_check_is_no_span(memory: Memory) -> None:
    """A probe every 50 ms is not what somebody looks for."""
    async with _client() as client:
        await client.get("/healthz")
    assert [] == memory.ended


async def test_an_event_in_binary_mode_is_one_span(memory: Memory) -> None:
    """The delivery is the event's span: a child of the event's own traceparent, not of the header beside it."""
    headers = {"ce-type": "it", "ce-traceparent": TRACEPARENT, "traceparent": OTHER}
    async with _client() as client:
        await client.post("/events", params={"traceparent": TRACEPARENT}, headers=headers)
    (span,) = memory.ended
    assert ("process it", Kind.CONSUMER, KNOWN) == (span.name, span.kind, span.parent)


async def test_an_event_whose_trace_is_in_its_body_has_its_own_span(memory: Memory) -> None:
    """In structured mode, or by the object it is about: a child of that trace."""
    async with _client() as client:
        await client.post("/events", params={"traceparent": TRACEPARENT}, headers={"traceparent": OTHER})
    event, delivery = memory.ended
    assert ("process it", Kind.CONSUMER, KNOWN) == (event.name, event.kind, event.parent)
    assert ("POST /events", trace.parse(OTHER)) == (delivery.name, delivery.parent)


async def test_an_event_without_a_trace_begins_one(memory: Memory) -> None:
    """One root, named as the event."""
    async with _client() as client:
        await client.post("/events", params={"traceparent": ""}, headers={"ce-type": "it"})
    assert [("process it", None)] == [(span.name, span.parent) for span in memory.ended]


async def test_log_lines_name_request_and_trace() -> None:
    """What a function says while it answers can be found by either."""
    with log_lines() as lines:
        async with _client() as client:
            await client.get("/orders/7", headers={"traceparent": TRACEPARENT, "x-request-id": "r-1"})
    assert [("inside", "r-1", TRACE), ("GET /orders/7", "r-1", TRACE)] == [
        (line["message"], line["request_id"], line["trace_id"]) for line in lines
    ]
