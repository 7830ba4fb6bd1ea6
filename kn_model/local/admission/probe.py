"""Rules for the probes of a container, and their defaults.

Tables `READINESS_RULES` and `LIVENESS_RULES`. Source: knative.dev/serving `pkg/apis/serving/k8s_validation.go`
(validateProbe, validateReadinessProbe) and `pkg/apis/serving/v1/revision_defaults.go`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from kn_model.local.admission.finding import (
    INT32_MAX,
    Finding,
    Findings,
    invalid,
    missing_one_of,
    multiple_one_of,
    out_of_bounds,
    under,
)
from kn_model.local.objects.kinds import Object

HANDLERS: Final = ("httpGet", "tcpSocket", "exec", "grpc")

Probe: TypeAlias = Mapping[str, Any]
ProbeRule: TypeAlias = Callable[[Probe, str], Findings]
"""A probe and the name of the port that the service is called on."""


def default_readiness(container: Object) -> None:
    """Knative never leaves a serving container without a readiness probe: TCP on its port, as often as it takes."""
    probe = container.setdefault("readinessProbe", {})
    default_handler(probe)
    probe.setdefault("successThreshold", 1)
    if probe.get("periodSeconds") and "exec" not in probe:
        probe.setdefault("failureThreshold", 3)
        probe.setdefault("timeoutSeconds", 1)


def default_handler(probe: Object) -> None:
    """A probe that names no way to ask connects to the port."""
    if not any(handler in probe for handler in HANDLERS):
        probe["tcpSocket"] = {"port": 0}


def one_handler(probe: Probe, port_name: str) -> Findings:
    """Exactly one way to ask."""
    del port_name
    chosen = [handler for handler in HANDLERS if handler in probe]
    if not chosen:
        yield missing_one_of(*HANDLERS)
    elif len(chosen) > 1:
        yield multiple_one_of(*chosen)


def port_of_the_service(probe: Probe, port_name: str) -> Findings:
    """A port given by name is the service's own: only that one is known to Knative."""
    for handler in ("httpGet", "tcpSocket"):
        port = probe.get(handler, {}).get("port", 0)
        if isinstance(port, str) and port and port != port_name:
            yield from under(handler, [invalid(port, "port", "Probe port must match container port")])


def in_range(probe: Probe, port_name: str) -> Findings:
    """Counts and seconds are not negative; one success is the least."""
    del port_name
    for field, lowest in (("periodSeconds", 0), ("initialDelaySeconds", 0), ("successThreshold", 1)):
        value = probe.get(field, lowest)
        if not lowest <= value <= INT32_MAX:
            yield out_of_bounds(value, lowest, INT32_MAX, field)


def aggressive_without_thresholds(probe: Probe, port_name: str) -> Findings:
    """Without a period Knative probes by its own rhythm (50 ms), and neither threshold nor timeout has a meaning."""
    del port_name
    if probe.get("periodSeconds", 0) == 0:
        for field in ("failureThreshold", "timeoutSeconds"):
            if probe.get(field, 0) != 0:
                yield Finding(f"{field} is disallowed when periodSeconds is zero", (field,))


def periodic_with_thresholds(probe: Probe, port_name: str) -> Findings:
    """With a period, a failure needs a time to be noticed in and a number to be counted to."""
    del port_name
    if probe.get("periodSeconds", 0) != 0:
        for field in ("timeoutSeconds", "failureThreshold"):
            value = probe.get(field, 0)
            if value < 1:
                yield out_of_bounds(value, 1, INT32_MAX, field)


LIVENESS_RULES: Final[tuple[ProbeRule, ...]] = (one_handler, port_of_the_service)
READINESS_RULES: Final[tuple[ProbeRule, ...]] = (
    *LIVENESS_RULES,
    in_range,
    aggressive_without_thresholds,
    periodic_with_thresholds,
)


def probe_findings(container: Mapping[str, Any], port_name: str) -> Findings:
    """What is wrong with the probes of the container that serves."""
    tables = {"livenessProbe": LIVENESS_RULES, "readinessProbe": READINESS_RULES}
    for field, rules in tables.items():
        if field in container:
            for rule in rules:
                yield from under(field, rule(container[field], port_name))
