"""Spans to a collector, by OpenTelemetry's SDK over OTLP/HTTP. Imported by `trace.export` alone, where one is configured.

Batches leave from a thread of the SDK's, so that no call waits for the collector.
"""

import asyncio
import atexit
import logging
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry.context import Context as Surroundings
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, set_span_in_context

from functions.kit.trace import Context, Kind, Span

# The SDK's 5 s are nearly as long as a function may be idle before it is stopped; a kill -9 loses this one second.
SCHEDULE_DELAY_MS: Final = 1000
# A collector that does not answer may hold up the end of a process by this much; the SDK's own limits are 10 and 30 s.
FLUSH_S: Final = 2.0
_KINDS: Final = {Kind.SERVER: SpanKind.SERVER, Kind.CONSUMER: SpanKind.CONSUMER, Kind.INTERNAL: SpanKind.INTERNAL}
_LOG = logging.getLogger("torpor.trace")


class Open:
    """A span of the SDK's that has begun."""

    def __init__(self, span: Any, collector: "Collector") -> None:
        self._span = span
        self._collector = collector
        is_ = span.get_span_context()
        self.context = Context(f"{is_.trace_id:032x}", f"{is_.span_id:016x}", is_.trace_flags.sampled)

    def end(self, span: Span) -> None:
        """See Recording."""
        self._span.update_name(span.name)
        self._span.set_attributes(span.attributes)
        if span.failure:
            self._span.set_status(StatusCode.ERROR, span.failure)
        self._span.end()
        self._collector.ended()


class Collector:
    """The Recorder that sends spans away. Opens at the first span: gunicorn forks after the app is built."""

    def __init__(self, service: str, environ: Mapping[str, str], *, flush_on_signal: bool) -> None:
        """See `trace.export`."""
        self._service = service
        self._delay_ms = None if environ.get("OTEL_BSP_SCHEDULE_DELAY") else SCHEDULE_DELAY_MS
        self._flush_on_signal = flush_on_signal
        self._provider: TracerProvider | None = None
        self._stopping = False
        self._given_up = False

    def begin(self, name: str, kind: Kind, parent: Context | None, began_ns: int | None) -> Open:
        """See Recorder."""
        tracer = self._open().get_tracer("torpor")
        return Open(tracer.start_span(name, _under(parent), _KINDS[kind], start_time=began_ns), self)

    def ended(self) -> None:
        """A span has ended; once the process is being stopped, nobody may be there to send it later."""
        if self._stopping:
            self.flush()

    def flush(self) -> None:
        """Send what is left. A collector that does not take it within FLUSH_S is not waited for again."""
        if not self._given_up and not _within(FLUSH_S, self._open().force_flush):
            self._given_up = True
            _LOG.warning("the collector did not take the last spans within %.0f s", FLUSH_S)

    def _open(self) -> TracerProvider:
        if self._provider is None:
            ours = Resource({"service.name": self._service, "service.namespace": "torpor"})
            # What the environment says of it wins over us, and we win over the SDK.
            resource = Resource.create().merge(ours).merge(OTELResourceDetector().detect())
            self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            atexit.register(_within, FLUSH_S, self._provider.shutdown)
            self._provider.add_span_processor(
                BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=self._delay_ms)
            )
            if self._flush_on_signal and threading.current_thread() is threading.main_thread():
                self._watch()
        return self._provider

    def _watch(self) -> None:
        """Flush at SIGTERM, and after each span from then on: the worker ends by that signal, without Python's farewell.

        On the event loop and not inside the signal's own handler, which could interrupt the SDK with a lock in hand.
        """
        handler = signal.getsignal(signal.SIGTERM)
        if not callable(handler):
            return
        stop = handler

        def stopping() -> None:
            self._stopping = True
            stop(signal.SIGTERM, None)
            self.flush()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping)


def _within(seconds: float, work: Callable[[], object]) -> bool:
    """Whether it was done in time; otherwise it goes on until the process ends, which does not wait for it."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def _under(parent: Context | None) -> Surroundings:
    """The SDK's form of a parent that lies in another process."""
    if parent is None:
        return Surroundings()
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    remote = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(remote), Surroundings())
