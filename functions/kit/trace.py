"""Traces: which call led to what. W3C trace context (Recommendation of 2021, level 1), and the span that is at work now.

`kit.app` opens a span for each HTTP call and `kit.bus` runs each event in the span that follows from the event; what
leaves while a span is at work carries `current()`. Spans are recorded only where `export` was told of a collector.
"""

import contextlib
import contextvars
import enum
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from functions.kit.settings import SettingsError

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
# An event's own attribute comes first: the header beside it belongs to the delivery, of which there may be many.
CARRIERS: Final = (b"ce-traceparent", b"traceparent")

# Section 3.2: two hexadecimal digits a byte, lower case alone; newer versions may add fields after a dash.
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_SAMPLED: Final = 0x01


@dataclass(frozen=True, slots=True)
class Context:
    """Where in which trace: 32 and 16 hexadecimal digits, and whether the spans of this trace are recorded."""

    trace_id: str
    span_id: str
    sampled: bool = False

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02x}"


def parse(text: str) -> Context | None:
    """A traceparent, or None for what the specification says to ignore; a new trace begins then.

    Section 3.2.2: a version that is not known is read as far as version 00 goes, `ff` is no version, and version 00 ends
    after the flags. Section 3.2.2.3: ids of zeros alone are none.
    """
    found = _TRACEPARENT.fullmatch(text)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return Context(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def carried(headers: Iterable[tuple[bytes, bytes]]) -> Context | None:
    """The context that a call brings: of an event in binary mode its attribute, otherwise the header.

    A name that comes twice counts for nothing: which one would be meant?
    """
    pairs = [(name.lower(), value.decode("latin-1").strip()) for name, value in headers]
    found = ([value for name, value in pairs if name == carrier] for carrier in CARRIERS)
    contexts = (parse(values[0]) for values in found if len(values) == 1)
    return next((context for context in contexts if context), None)


class Kind(enum.Enum):
    """What a span is, in OpenTelemetry's words."""

    SERVER = "server"
    CONSUMER = "consumer"
    INTERNAL = "internal"


@dataclass(slots=True)
class Span:
    """A piece of work, named and judged until it ends. failure: what went wrong, empty when nothing did."""

    name: str
    kind: Kind
    context: Context
    parent: Context | None
    attributes: dict[str, str | int] = field(default_factory=dict)
    failure: str = ""


class Recording(Protocol):
    """A span that has begun: who it is, and how it ends."""

    @property
    def context(self) -> Context:
        """Decided when it begins: children need it."""
        ...

    def end(self, span: Span) -> None:
        """The work is done; `span` says what became of it. Returns at once."""


class Recorder(Protocol):
    """Begins spans. `otlp.Collector` sends them away, `Nowhere` does not."""

    def begin(self, name: str, kind: Kind, parent: Context | None, began_ns: int | None) -> Recording:
        """parent: None for the first span of a trace. began_ns: since 1970, now by default."""
        ...


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """A span whose ids are all there is of it."""

    context: Context

    def end(self, span: Span) -> None:
        """Nothing remains."""


class Nowhere:
    """The Recorder of a function that was told of no collector."""

    def begin(self, _name: str, _kind: Kind, parent: Context | None, _began_ns: int | None) -> Unrecorded:
        """See Recorder."""
        return Unrecorded(below(parent))


_current: contextvars.ContextVar[Span | None] = contextvars.ContextVar("span", default=None)
# Of this process, as the log is: a recorder is chosen once, at start-up.
_recorder: Recorder = Nowhere()


def record_with(recorder: Recorder) -> Recorder:
    """Begin spans with `recorder` from now on; answers the one before."""
    global _recorder  # see above
    before, _recorder = _recorder, recorder
    return before


def below(parent: Context | None) -> Context:
    """Ids for a child of `parent`, or for a new trace."""
    span_id = secrets.token_hex(8)
    return Context(parent.trace_id, span_id, parent.sampled) if parent else Context(secrets.token_hex(16), span_id)


def current() -> str:
    """The traceparent for what leaves now: of the span at work, or of a new trace where none is."""
    span = _current.get()
    return str(span.context if span else below(None))


def trace_id() -> str:
    """The trace that is at work, empty where none is. For log lines."""
    span = _current.get()
    return span.context.trace_id if span else ""


@contextlib.contextmanager
def span(name: str, kind: Kind, parent: Context | None = None, began_ns: int | None = None) -> Iterator[Span]:
    """Work inside a span: a child of `parent`, else of the span at work, else the first of a new trace."""
    outer = _current.get()
    above = parent or (outer.context if outer else None)
    recording = _recorder.begin(name, kind, above, began_ns)
    inner = Span(name, kind, recording.context, above)
    token = _current.set(inner)
    try:
        yield inner
    except BaseException as error:
        inner.failure = inner.failure or type(error).__name__
        raise
    finally:
        _current.reset(token)
        recording.end(inner)


@contextlib.contextmanager
def inside(context: Context | None) -> Iterator[None]:
    """Work that belongs to a span of another process: log lines name its trace, and spans are its children."""
    token = _current.set(Span("", Kind.INTERNAL, context, None) if context else None)
    try:
        yield
    finally:
        _current.reset(token)


@contextlib.contextmanager
def following(name: str, traceparent: str) -> Iterator[Span]:
    """Handle an event in a span that is a child of the event's `traceparent`.

    The span of the HTTP call that delivers it is that span already when the event came in binary mode.
    """
    parent, outer = parse(traceparent), _current.get()
    if outer is not None and parent in {None, outer.parent}:
        outer.name = name
        yield outer
        return
    with span(name, Kind.CONSUMER, parent) as inner:
        yield inner


def export(environ: Mapping[str, str], service: str, *, flush_on_signal: bool = True) -> None:
    """Record spans from now on, if the environment names a collector. Called once, at start-up.

    Reads OpenTelemetry's own variables; its SDK, which is imported now or never, reads the others.
    flush_on_signal: send what is left at SIGTERM, for a process that a signal ends without Python's farewell.
    Raises SettingsError for what cannot be done as told.
    """
    endpoint = next((name for name in ENDPOINTS if environ.get(name)), None)
    if endpoint is None or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return
    if environ.get("OTEL_TRACES_EXPORTER", "") == "none":
        return
    protocol = next((name for name in PROTOCOLS if environ.get(name)), None)
    if protocol is not None and environ[protocol] != "http/protobuf":
        raise SettingsError(f"{protocol}: {environ[protocol]!r} is not spoken here, only 'http/protobuf'")
    try:
        from functions.kit import otlp
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{endpoint}: is set, and {error.name} is not installed: pip install 'torpor[tracing]'"
        ) from error
    record_with(otlp.Collector(service, environ, flush_on_signal=flush_on_signal))
