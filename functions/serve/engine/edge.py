"""The middleware with its dependencies, for whoever constructs it from a class alone.

vLLM takes `--middleware functions.serve.engine.edge.Edge` and constructs it with nothing but the app. So this is, next
to `__main__`, the one place in the engine that reads the environment.
"""

import logging
import os
import time
from datetime import UTC, datetime
from functools import partial

from functions.kit import remote, trace
from functions.kit.settings import load
from functions.kit.signature import Keyring
from functions.serve.engine import phases, routes
from functions.serve.engine.consumption import Meter
from functions.serve.engine.middleware import App, Deps, Middleware
from functions.serve.engine.settings import EdgeSettings
from functions.serve.engine.usage import HttpSender, Ledger, LogSender

_LOG = logging.getLogger("torpor.engine")


def deps(settings: EdgeSettings) -> Deps:
    """What the middleware of a real engine works with: auth's keys over HTTP, usage to its sink."""
    sender = HttpSender(settings.usage_sink) if settings.usage_sink else LogSender()
    ledger = Ledger(
        settings.server_name,
        sender,
        Keyring(engines=settings.event_keys),
        capacity=settings.usage_buffer,
        look=Meter(in_pod=bool(settings.kubernetes)).look,
    )
    return Deps(
        verifier=remote.verifier(settings.jwks_url, settings.verify_url),
        ledger=ledger,
        names=(settings.server_name, settings.model_name),
        max_body_bytes=settings.max_body_bytes,
        max_choices=settings.max_choices,
        max_inputs=settings.max_inputs,
        routes=routes.chosen(settings.paths),
        ready=partial(_started, settings, ledger),
        model_uuid=settings.model_uuid,
        revision=settings.revision,
    )


def _started(settings: EdgeSettings, ledger: Ledger) -> None:
    """The start as one span, from the kernel's start of this process, and as an event; whatever forks has forked by now."""
    seconds = phases.since_start()
    began = time.time_ns() - int(seconds * 1e9)
    with trace.span("start engine", trace.Kind.INTERNAL, trace.parse(settings.traceparent), began):
        _LOG.info("the engine is ready", extra={"ready_s": seconds})
    ledger.announce(phases.started(settings.server_name, settings.revision, seconds, datetime.now(UTC)))


class Edge(Middleware):
    """The middleware, configured by the environment."""

    def __init__(self, app: App) -> None:
        super().__init__(app, deps(load(EdgeSettings, os.environ)))
