"""Spans leave the process when an endpoint is named, and nothing is even imported when none is."""

import json
import os
import subprocess
import sys

import pytest

from functions.kit import trace
from functions.kit.settings import SettingsError

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


SILENT = [
    {},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    {"OTEL_SERVICE_NAME": "mine"},
    {**ENDPOINT, "OTEL_SDK_DISABLED": "true"},
    {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
]
PROGRAM = """
import json, sys
from functions.kit import app, bus, trace
for environ in json.loads(sys.argv[1]):
    trace.export(environ, "test")
    with trace.span("work", trace.Kind.INTERNAL):
        trace.current()
    print(int("opentelemetry" in sys.modules or "requests" in sys.modules))
"""


def test_without_a_collector_nothing_is_imported() -> None:
    """No endpoint, or the standard switches that say no: OpenTelemetry is not touched. With one it is."""
    told = [
        *SILENT,
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces", "OTEL_BSP_SCHEDULE_DELAY": "0"},
    ]
    program = [sys.executable, "-c", PROGRAM, json.dumps(told)]
    # Nobody listens there: what is not recorded is not waited for.
    environ = {**os.environ, "OTEL_TRACES_SAMPLER": "always_off"}
    done = subprocess.run(program, env=environ, capture_output=True, text=True, check=True)
    assert ["0"] * len(SILENT) + ["1"] == done.stdout.split()


def test_a_missing_package_is_named() -> None:
    """Start-up fails with the variable, the package and what to install."""
    hidden = dict.fromkeys(("opentelemetry", "functions.kit.otlp"))
    before = {name: sys.modules.get(name) for name in hidden}
    try:
        sys.modules.update(hidden)  # type: ignore[arg-type]  # None is how Python marks what cannot be imported
        with pytest.raises(SettingsError, match=r"^OTEL_EXPORTER_OTLP_ENDPOINT: .*pip install 'torpor\[tracing\]'"):
            trace.export(ENDPOINT, "test")
    finally:
        for name, module in before.items():
            sys.modules.pop(name) if module is None else sys.modules.update({name: module})


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"])
def test_a_protocol_that_is_not_spoken_is_refused(name: str) -> None:
    """GRPC would need another package: say so at start-up instead of sending nothing."""
    with pytest.raises(SettingsError, match=f"^{name}: 'grpc'"):
        trace.export({**ENDPOINT, name: "grpc"}, "test")
