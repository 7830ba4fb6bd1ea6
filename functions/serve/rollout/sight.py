"""What the cluster says of a rollout: its candidate, and the revision that served before. Pure; called by `driver`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from functions.serve import observe
from functions.serve.observe import Seen
from functions.serve.rollout import traffic
from functions.serve.service import ROLLOUT_LABEL

# A node may be on its way, or another model about to leave its GPU: only the deadline ends this wait.
_MAY_PASS: Final = frozenset({"Unschedulable", "Deploying", ""})


@dataclass(frozen=True, slots=True)
class Sight:
    """One look at the API.

    candidate: its revision's name, empty before there is one. routed: its tag leads to it in the ingress as well. While
    it starts, the tag leads to the revision that was ready last, the one that serves, and it still does for a moment after
    status.traffic names the candidate: until the Service reports RoutesReady of its current generation.
    trouble: its own words, empty when it is well. passing: the trouble may pass by itself. replicas: how many run.
    stable_present, stable_replicas: of the revision that served when the rollout began.
    """

    candidate: str = ""
    ready: bool = False
    routed: bool = False
    failed: bool = False
    passing: bool = False
    trouble: str = ""
    replicas: int = 0
    stable_present: bool = True
    stable_replicas: int = 0


def look(rollout_uuid: str, stable: str, service: Mapping[str, Any] | None, revisions: Sequence[Any]) -> Sight:
    """service: None when it is gone. revisions: those of the server, as the API lists them."""
    old = next((one for one in revisions if one["metadata"]["name"] == stable), None)
    new = next((one for one in revisions if one["metadata"].get("labels", {}).get(ROLLOUT_LABEL) == rollout_uuid), None)
    stable_seen = observe.read(old) if old else None
    about_stable = {"stable_present": old is not None, "stable_replicas": stable_seen.replicas if stable_seen else 0}
    if new is None:
        return Sight(**about_stable, trouble=_refusal(service))  # type: ignore[arg-type]  # both are what Sight says
    seen = observe.read(new)
    return Sight(
        candidate=seen.name,
        ready=seen.condition("Ready").status == "True",
        routed=service is not None and _routed(service, seen.name),
        failed=_failed(seen),
        passing=_reason(seen) in _MAY_PASS,
        trouble=_trouble(seen),
        replicas=seen.replicas,
        **about_stable,  # type: ignore[arg-type]  # both are what Sight says
    )


def _failed(seen: Seen) -> bool:
    """A revision that was ready once stays Ready; that its replicas fail now is told by Active alone."""
    return seen.condition("Ready").status == "False" or observe.cannot_wake(seen.condition("Active"))


def _trouble(seen: Seen) -> str:
    active = seen.condition("Active")
    return observe.trouble(seen) or (observe.explain(active) if observe.cannot_wake(active) else "")


def _reason(seen: Seen) -> str:
    ready = seen.condition("Ready")
    return ready.reason if ready.status == "False" else seen.condition("Active").reason


def _routed(service: Mapping[str, Any], candidate: str) -> bool:
    seen = observe.read({"kind": "Service", **service})
    return _tagged(service) == candidate and seen.settled and seen.condition("RoutesReady").status == "True"


def _tagged(service: Mapping[str, Any]) -> str:
    targets = (service.get("status") or {}).get("traffic") or []
    return next((str(target.get("revisionName", "")) for target in targets if target.get("tag") == traffic.TAG), "")


def _refusal(service: Mapping[str, Any] | None) -> str:
    """Why there is no revision yet, if the Service says so: a template that the cluster cannot make one of."""
    if service is None:
        return "its Knative Service is gone and is being made again"
    made = observe.read({"kind": "Service", **service}).condition("ConfigurationsReady")
    return made.message if made.status == "False" else ""
