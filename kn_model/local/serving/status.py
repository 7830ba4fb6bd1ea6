"""The status of Revision, Configuration, Route and Service, as Knative Serving would write it. Pure.

Called by `reconciler.py`. Condition types, reasons and messages are Knative's (knative/serving `pkg/apis/serving/v1/*_lifecycle.go`)
as far as `kn`, `kubectl wait` and the serve function look at them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from kn_model.local.addresses import Addresses
from kn_model.local.objects.conditions import Condition, read, summary, written
from kn_model.local.serving.replicas import State

Json = Mapping[str, Any]
Status = dict[str, Any]
_SCHEDULING: Final = ("Unschedulable", "ProgressDeadlineExceeded")


def revision_status(revision: Json, state: State, now: str) -> Status:
    """From how its replicas stand."""
    before = revision.get("status") or {}
    failure = None if state.achieved else state.failure
    reason, message = (failure.reason, str(failure)) if failure else ("" if state.achieved else "Deploying", "")
    verdict = True if state.achieved else (False if failure else None)
    resources = verdict if reason in _SCHEDULING or verdict else None
    healthy = verdict if reason not in _SCHEDULING or verdict else None
    conditions = [
        Condition("ResourcesAvailable", resources, reason, message if resources is False else ""),
        Condition("ContainerHealthy", healthy, reason, message if healthy is False else ""),
        _active(state),
    ]
    containers = revision["spec"].get("containers") or []
    return {
        "observedGeneration": revision["metadata"]["generation"],
        "conditions": written([*conditions, summary(conditions)], before, now),
        "containerStatuses": [
            {"name": each.get("name", ""), "imageDigest": each["image"]} for each in containers if "image" in each
        ],
        "actualReplicas": state.ready,
        "desiredReplicas": state.desired,
    }


def _active(state: State) -> Condition:
    if state.ready:
        return Condition("Active", status=True, severity="Info")
    if state.failure:
        return Condition("Active", False, state.failure.reason, str(state.failure), "Info")
    if state.desired:
        message = "Requests to the target are being buffered as resources are provisioned."
        return Condition("Active", None, "Queued", message, "Info")
    return Condition("Active", False, "NoTraffic", "The target is not receiving traffic.", "Info")


def configuration_status(configuration: Json, latest: Json, latest_ready: str, now: str) -> Status:
    """From its newest Revision; `latest_ready` is the newest one that is Ready, or empty."""
    of_latest = read(latest)
    ready = replace(of_latest, reason="", message="")
    name = latest["metadata"]["name"]
    if of_latest.status is False:
        message = f'Revision "{name}" failed with message: {of_latest.message}.'
        ready = Condition("Ready", False, "RevisionFailed", message)
    return _without_empty(
        {
            "observedGeneration": configuration["metadata"]["generation"],
            "conditions": written([ready], configuration.get("status") or {}, now),
            "latestCreatedRevisionName": name,
            "latestReadyRevisionName": latest_ready,
        }
    )


@dataclass(frozen=True, slots=True)
class Traffic:
    """A Route's targets made of revisions, or why that cannot be done yet."""

    targets: Sequence[Json]
    problem: Condition | None = None


def traffic(route: Json, revisions: Mapping[str, Json], latest_ready: str, addresses: Addresses) -> Traffic:
    """Resolve a Route's targets. When one is not ready, the old ones stay: calls keep going where they went."""
    metadata, resolved = route["metadata"], []
    for target in route["spec"]["traffic"]:
        name = target.get("revisionName") or latest_ready
        if problem := _unfit(name, revisions.get(name), metadata["name"]):
            return Traffic((route.get("status") or {}).get("traffic") or [], problem)
        entry = {
            "revisionName": name,
            "latestRevision": not target.get("revisionName"),
            "percent": target.get("percent") or 0,
        }
        if tag := target.get("tag"):
            url = addresses.service(metadata["namespace"], f"{tag}-{metadata['name']}")
            entry |= {"tag": tag, "url": url}
        resolved.append(entry)
    return Traffic(resolved)


def _unfit(name: str, revision: Json | None, configuration: str) -> Condition | None:
    if not name:
        message = f'Configuration "{configuration}" is waiting for a Revision to become ready.'
        return Condition("AllTrafficAssigned", None, "RevisionMissing", message)
    if revision is None:
        return Condition(
            "AllTrafficAssigned", False, "RevisionMissing", f'Revision "{name}" referenced in traffic not found.'
        )
    ready = read(revision).status
    if ready:
        return None
    words = "failed to become ready" if ready is False else "is not yet ready"
    return Condition("AllTrafficAssigned", ready, "RevisionMissing", f'Revision "{name}" {words}.')


def route_status(route: Json, found: Traffic, addresses: Addresses, now: str) -> Status:
    """From its resolved traffic."""
    metadata = route["metadata"]
    url = addresses.service(metadata["namespace"], metadata["name"])
    assigned = found.problem or Condition("AllTrafficAssigned", status=True)
    ingress = Condition("IngressReady", status=True if found.targets else None)
    conditions = [assigned, ingress, Condition("CertificateProvisioned", True, "TLSNotEnabled")]
    return {
        "observedGeneration": metadata["generation"],
        "conditions": written([*conditions, summary(conditions)], route.get("status") or {}, now),
        "url": url,
        "address": {"url": url},
        "traffic": list(found.targets),
    }


def service_status(service: Json, configuration: Json, route: Json, now: str) -> Status:
    """From its Configuration and Route, both as just written."""
    conditions = [
        replace(read(configuration), type="ConfigurationsReady"),
        replace(read(route), type="RoutesReady"),
    ]
    of_configuration, of_route = configuration["status"], route["status"]
    return {
        "observedGeneration": service["metadata"]["generation"],
        "conditions": written([*conditions, summary(conditions)], service.get("status") or {}, now),
        **{key: of_configuration[key] for key in _NAMES if key in of_configuration},
        **{key: of_route[key] for key in ("url", "address", "traffic")},
    }


_NAMES: Final = ("latestCreatedRevisionName", "latestReadyRevisionName")


def _without_empty(status: Status) -> Status:
    return {key: value for key, value in status.items() if value != ""}
