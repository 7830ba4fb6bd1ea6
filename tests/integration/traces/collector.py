"""An OTLP/HTTP receiver that keeps the spans it is sent: what a collector is to a function."""

import asyncio
import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class Received:
    """One span: ids in hexadecimal, an empty parent for a root."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, str]
    seconds: float


@dataclass
class Collector:
    """The receiver; `spans` grows from its thread."""

    url: str = ""
    spans: list[Received] = field(default_factory=list)

    def trace(self, trace_id: str) -> list[Received]:
        """The spans of one trace, as far as they have arrived."""
        return [span for span in self.spans if span.trace_id == trace_id]

    async def take(self, request: web.Request) -> web.Response:
        """POST /v1/traces."""
        body = await request.read()
        plain = gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body
        message = ExportTraceServiceRequest.FromString(plain)
        for group in message.resource_spans:
            resource = {each.key: each.value.string_value for each in group.resource.attributes}
            for scope in group.scope_spans:
                self.spans += [_received(resource["service.name"], span) for span in scope.spans]
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )


def _received(service: str, span: object) -> Received:
    attributes = {each.key: each.value.string_value or str(each.value.int_value) for each in span.attributes}  # type: ignore[attr-defined]
    return Received(
        service=service,
        name=span.name,  # type: ignore[attr-defined]  # generated classes have no types
        trace_id=span.trace_id.hex(),  # type: ignore[attr-defined]
        span_id=span.span_id.hex(),  # type: ignore[attr-defined]
        parent_id=span.parent_span_id.hex(),  # type: ignore[attr-defined]
        attributes=attributes,
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,  # type: ignore[attr-defined]
    )


@contextmanager
def collector() -> Iterator[Collector]:
    """A receiver on a free port of loopback, in a thread of its own."""
    receiver, loop = Collector(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_serve(receiver), loop).result()
    try:
        yield receiver
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _serve(receiver: Collector) -> web.AppRunner:
    application = web.Application()
    application.router.add_post("/v1/traces", receiver.take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    return runner
