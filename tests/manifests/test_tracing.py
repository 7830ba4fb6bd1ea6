"""The component `tracing`: with it every function is told of the collector, without it none is."""

from collections.abc import Sequence
from typing import Any

Object = dict[str, Any]
FUNCTIONS = {"auth", "download", "serve", "status"}
TOLD = {
    "name": "OTEL_EXPORTER_OTLP_ENDPOINT",
    "valueFrom": {"configMapKeyRef": {"name": "torpor", "key": "otlp-endpoint"}},
}


def told(objects: Sequence[Object]) -> set[str]:
    """The functions that get the variable."""
    services = [each for each in objects if each["apiVersion"].startswith("serving.knative.dev/")]
    return {
        each["metadata"]["name"]
        for each in services
        if TOLD in each["spec"]["template"]["spec"]["containers"][0]["env"]
    }


def test_functions_send_spans_where_the_component_is_used(overlay: str, objects: Sequence[Object]) -> None:
    """All of them or none: half a trace helps nobody. The address is the installation's to change."""
    (settings,) = [each for each in objects if each["kind"] == "ConfigMap" and each["metadata"]["name"] == "torpor"]
    used = overlay == "traced"
    assert (FUNCTIONS if used else set()) == told(objects)
    assert used == ("otlp-endpoint" in settings["data"])


def test_nothing_of_opentelemetry_is_said_elsewhere(render: Any) -> None:
    """Without the component no function is given any of its variables."""
    assert "OTEL_" not in repr(render("local"))
