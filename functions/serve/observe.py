"""What the cluster says about a server, from its Service and Revision objects. Pure.

Called for every event of the ApiServerSource and, on a tick, for what the API lists. Events come late, twice and out
of order: `seen` keeps of each object only what is newer, so state never moves backwards.

Conditions as Knative Serving 1.23 sets them (serving, pkg/apis/serving/v1/{service,revision}_lifecycle.go).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from functions.serve.service import MODEL_LABEL, ROLLOUT_LABEL, SERVER_LABEL
from functions.serve.states import Cause

_GENERATION_LABEL: Final = "serving.knative.dev/configurationGeneration"
# What to do about it, for the reasons that people meet most; the cluster's own message follows.
_ADVICE: Final[Mapping[str, str]] = {
    "Unschedulable": "no node has the CPU, memory or GPU that it asks for",
    "ProgressDeadlineExceeded": "it did not become ready in time; `kn model logs` has the engine's output",
    "ContainerMissing": "the engine's image cannot be pulled",
    "ImagePullBackOff": "the engine's image cannot be pulled",
    "TimedOut": "it was woken and did not become ready in time; `kn model logs` has the engine's output",
    "OOMKilled": "it needed more memory than its limit; ask for more with memory_mb",
    "ExitCode137": "it was killed, most likely for more memory than its limit; ask for more with memory_mb",
}


class Condition(NamedTuple):
    """One entry of status.conditions."""

    status: str
    reason: str
    message: str


class Seen(Struct, frozen=True):
    """One object as last seen."""

    uid: str
    name: str
    resource_version: int
    generation: int
    # The controller has looked at this generation.
    settled: bool
    conditions: dict[str, Condition]
    # Service: the revision that was made last, the last that became ready, and the one that traffic is pinned to, which
    # serves; empty when the latest one does. Revision: empty.
    latest: str = ""
    replicas: int = 0
    latest_ready: str = ""
    pinned: str = ""
    # Service: the rollout whose revision the template makes; empty when that is not on trial.
    trial: str = ""

    def condition(self, kind: str) -> Condition:
        """A condition, Unknown when it is not reported."""
        return self.conditions.get(kind, Condition("Unknown", "", ""))


class Observation(Struct, frozen=True):
    """What is known of a server's objects: the value of server_records.observed, with `replicas` for readers."""

    service: Seen | None = None
    revision: Seen | None = None
    replicas: int | None = None
    # The newest revision while another one serves.
    candidate: Seen | None = None
    # When each state was last entered, RFC 3339.
    times: dict[str, str] = {}


class Finding(NamedTuple):
    """What an observation amounts to. error: for people, empty when all is well."""

    cause: Cause
    error: str


def server_uuid(obj: Mapping[str, Any]) -> str | None:
    """The record that an object belongs to; None for objects that are not a model's."""
    labels = obj.get("metadata", {}).get("labels", {})
    return labels.get(SERVER_LABEL) if MODEL_LABEL in labels else None


def read(obj: Mapping[str, Any]) -> Seen:
    """What matters of a Service or Revision object. Raises KeyError for one without metadata."""
    metadata, status = obj["metadata"], obj.get("status", {})
    generation = int(metadata.get("generation", 0))
    return Seen(
        uid=metadata["uid"],
        name=metadata["name"],
        # Kubernetes defines resource versions as comparable integers since 1.35 (KEP-5504); they always were with etcd.
        resource_version=int(metadata["resourceVersion"]),
        generation=_ordinal(obj) if obj["kind"] == "Revision" else generation,
        settled=int(status.get("observedGeneration", 0)) >= generation,
        conditions={entry["type"]: _condition(entry) for entry in status.get("conditions", [])},
        latest=status.get("latestCreatedRevisionName", ""),
        replicas=int(status.get("actualReplicas") or 0),
        latest_ready=status.get("latestReadyRevisionName", ""),
        pinned=_pinned(obj),
        trial=_trial(obj),
    )


def _pinned(service: Mapping[str, Any]) -> str:
    """The revision that has traffic by its name."""
    targets = service.get("spec", {}).get("traffic") or []
    return next((str(t["revisionName"]) for t in targets if t.get("revisionName") and t.get("percent")), "")


def _trial(service: Mapping[str, Any]) -> str:
    template = service.get("spec", {}).get("template") or {}
    return str((template.get("metadata", {}).get("labels") or {}).get(ROLLOUT_LABEL, ""))


def _condition(entry: Mapping[str, Any]) -> Condition:
    return Condition(entry.get("status", "Unknown"), entry.get("reason", ""), entry.get("message", ""))


def _ordinal(revision: Mapping[str, Any]) -> int:
    """Revisions are ordered by the generation of the Configuration that made them."""
    return int(revision["metadata"].get("labels", {}).get(_GENERATION_LABEL, 0))


def with_service(known: Observation, service: Seen) -> Observation | None:
    """The observation after a Service event, or None when the event is old news."""
    old = known.service
    if old is not None and old.resource_version >= service.resource_version:
        return None
    if old is not None and old.uid != service.uid:
        return replace(known, service=service, revision=None, candidate=None)
    candidate = known.candidate
    if candidate is not None and not service.pinned and candidate.name == service.latest:
        return replace(known, service=service, revision=candidate, candidate=None, replicas=candidate.replicas)
    return replace(known, service=service)


def with_revision(known: Observation, revision: Seen) -> Observation | None:
    """The observation after a Revision event, or None when a newer one of it, or a newer revision, is known."""
    pinned = known.service.pinned if known.service else ""
    if pinned and revision.name != pinned:
        return replace(known, candidate=revision) if _is_newer(revision, known.candidate) else None
    if _is_newer(revision, known.revision) or (pinned and known.revision and known.revision.name != pinned):
        return replace(known, revision=revision, replicas=revision.replicas)
    return None


def _is_newer(revision: Seen, old: Seen | None) -> bool:
    return old is None or (revision.generation, revision.resource_version) > (old.generation, old.resource_version)


def restored(service: Seen, *, promoted: bool = False) -> bool:
    """Whether what served is the latest revision again, and ready: then traffic need not be pinned any more.

    promoted: the rollout that the template names was; it goes on naming it, since another template is another revision.
    """
    on_trial = service.trial and not promoted
    return service.settled and not on_trial and bool(service.latest) and service.latest == service.latest_ready


def find(known: Observation) -> Finding:
    """What the objects say together."""
    service = known.service
    if service is None:
        return Finding(Cause.PROGRESSING, "")
    if service.pinned:
        return _of_pinned(service, known.revision)
    revision = known.revision if known.revision and known.revision.name == service.latest else None
    ready = service.condition("Ready")
    if not service.settled or ready.status == "Unknown":
        return Finding(Cause.PROGRESSING, trouble(revision) if service.settled else "")
    if ready.status == "False":
        return Finding(Cause.BROKEN, trouble(revision) or explain(ready))
    if revision is not None and cannot_wake(revision.condition("Active")):
        return Finding(Cause.BROKEN, explain(revision.condition("Active")))
    return Finding(Cause.AWAKE if _awake(revision) else Cause.SLEEPING, "")


def _of_pinned(service: Seen, revision: Seen | None) -> Finding:
    """While something else is on trial, or on its way back, the Service's conditions tell of that; what serves is this."""
    if revision is None or revision.name != service.pinned:
        return Finding(Cause.AWAKE, "")
    if cannot_wake(revision.condition("Active")):
        return Finding(Cause.BROKEN, explain(revision.condition("Active")))
    return Finding(Cause.AWAKE if _awake(revision) else Cause.SLEEPING, "")


def cannot_wake(active: Condition) -> bool:
    """A revision that was ready once stays Ready; that its replicas fail now is told by Active alone."""
    return active.status == "False" and active.reason not in {"", "NoTraffic"}


def _awake(revision: Seen | None) -> bool:
    """Active says whether the revision is meant to have replicas; while that is undecided their number tells."""
    if revision is None:
        return True
    active = revision.condition("Active").status
    return active == "True" if active != "Unknown" else revision.replicas > 0


def trouble(revision: Seen | None) -> str:
    """The revision's own words: the Service only says that its revision failed."""
    if revision is None:
        return ""
    conditions = [revision.condition(kind) for kind in ("ContainerHealthy", "ResourcesAvailable", "Ready")]
    return next((explain(condition) for condition in _worst_first(conditions) if condition.message), "")


def _worst_first(conditions: Sequence[Condition]) -> Sequence[Condition]:
    """Failures, then what is undecided; a condition that holds explains nothing. Deploying is no trouble."""
    failed = [condition for condition in conditions if condition.status == "False"]
    undecided = [c for c in conditions if c.status == "Unknown" and c.reason not in {"", "Deploying"}]
    return [*failed, *undecided]


def explain(condition: Condition) -> str:
    """The cluster's words, after what to do about it where that is known."""
    advice = _ADVICE.get(condition.reason, "")
    said = ": ".join(part for part in (condition.reason, condition.message) if part)
    return f"{advice} ({said})" if advice else said
