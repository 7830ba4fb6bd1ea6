"""Rules for Knative Services, Configurations, Revisions and Routes: metadata, templates, traffic, what may not change.

Tables `SERVICE_RULES`, `CONFIGURATION_RULES`, `REVISION_RULES`, `ROUTE_RULES`. Sources: knative.dev/serving
`pkg/apis/serving/v1/{service,configuration,revision,route}_validation.go`, `pkg/apis/serving/metadata_validation.go`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from kn_model.local.admission.config import ClusterConfig
from kn_model.local.admission.container import each
from kn_model.local.admission.defaults import CREATOR, MODIFIER
from kn_model.local.admission.finding import (
    Finding,
    Findings,
    disallowed,
    invalid,
    invalid_key,
    missing_one_of,
    multiple_one_of,
    out_of_bounds,
    under,
)
from kn_model.local.admission.formats import go_duration, is_dns_1035_label
from kn_model.local.admission.pod import POD_RULES
from kn_model.local.admission.scale import ANNOTATION_RULES, DOMAIN
from kn_model.local.objects.kinds import Object

VISIBILITY: Final = "networking.knative.dev/visibility"
ROLLOUT: Final = "serving.knative.dev/rollout-duration"
PROGRESS: Final = "serving.knative.dev/progress-deadline"
_SERVING: Final = "serving.knative.dev/"


@dataclass(frozen=True, slots=True)
class Review:
    """An object, defaults applied, the one it replaces, and the cluster's configuration."""

    obj: Object
    old: Object | None
    config: ClusterConfig

    @property
    def annotations(self) -> Mapping[str, str]:
        """The object's own annotations."""
        return self.obj["metadata"].get("annotations") or {}

    @property
    def template(self) -> Object:
        """The revision template of a Service or Configuration."""
        return dict(self.obj["spec"].get("template") or {})


ObjectRule: TypeAlias = Callable[[Review], Findings]


def dns_name(review: Review) -> Findings:
    """The name becomes a host name."""
    name = review.obj["metadata"].get("name", "")
    if name and not is_dns_1035_label(name):
        yield from under("metadata", [invalid(f"not a DNS 1035 label: {name}", "name")])


def scaling_on_template_only(review: Review) -> Findings:
    """Autoscaling annotations belong to the revision; on the Service they would be ignored without a word."""
    for key in review.annotations:
        if key.startswith(DOMAIN):
            details = 'autoscaling annotations must be put under "spec.template.metadata.annotations" to work'
            yield from under("metadata.annotations", [invalid_key(key, "", details)])


def known_labels(review: Review) -> Findings:
    """Visibility has one value, and Serving's own labels are set by Serving."""
    owned = bool(review.obj["metadata"].get("ownerReferences"))
    for key, value in (review.obj["metadata"].get("labels") or {}).items():
        if key == VISIBILITY and value != "cluster-local":
            yield from under("metadata.labels", [invalid(value, key)])
        elif key.startswith(_SERVING) and not owned:
            yield from under("metadata.labels", [invalid_key(key, "")])


def rollout_duration(review: Review) -> Findings:
    """How long a new revision takes to get all traffic: whole, positive seconds."""
    text = review.annotations.get(ROLLOUT, "")
    if not text:
        return
    seconds = go_duration(text)
    if seconds is None:
        found = invalid(text, ROLLOUT)
    elif not seconds.is_integer():
        found = Finding(f"rollout-duration={text} is not at second precision", (ROLLOUT,))
    elif seconds < 0:
        found = Finding(f"rollout-duration={text} must be positive", (ROLLOUT,))
    else:
        return
    yield from under("metadata.annotations", [found])


def template_annotations(review: Review) -> Findings:
    """The autoscaler's annotations are well formed."""
    annotations = (review.template.get("metadata") or {}).get("annotations") or {}
    for rule in ANNOTATION_RULES:
        yield from under("spec.template.metadata.annotations", rule(annotations, review.config))


def progress_deadline(review: Review) -> Findings:
    """How long a revision may take to start: whole seconds, not negative."""
    text = ((review.template.get("metadata") or {}).get("annotations") or {}).get(PROGRESS, "")
    if not text:
        return
    seconds = go_duration(text)
    where = "spec.template.metadata.annotations"
    if seconds is None:
        yield from under(where, [invalid(text, PROGRESS)])
    elif not seconds.is_integer():
        yield from under(where, [Finding(f"progress-deadline={text} is not at second precision", (PROGRESS,))])
    elif seconds < 0:
        yield from under(where, [Finding(f"progress-deadline={text} must be positive", (PROGRESS,))])


def template_pod(review: Review) -> Findings:
    """The template's pod keeps the rules of `pod`."""
    for rule in POD_RULES:
        yield from under("spec.template.spec", rule(review.template.get("spec") or {}, review.config))


def revision_name(review: Review) -> Findings:
    """A revision named by hand starts with its Service's name."""
    metadata = review.obj["metadata"]
    name, prefix = (review.template.get("metadata") or {}).get("name", ""), f"{metadata.get('name', '')}-"
    if not name:
        return
    where = "spec.template.metadata"
    if not is_dns_1035_label(name):
        yield from under(where, [invalid(f"not a DNS 1035 label: {name}", "name")])
    if metadata.get("generateName") and not metadata.get("name"):
        yield from under(where, [disallowed("name")])
    elif not name.startswith(prefix):
        yield from under(where, [invalid(f'"{name}" must have prefix "{prefix}"', "name")])


def renamed_when_changed(review: Review) -> Findings:
    """A revision does not change: a changed template needs another name, if it has one at all."""
    if review.old is None:
        return
    before = review.old["spec"].get("template") or {}
    name = (review.template.get("metadata") or {}).get("name")
    if name and name == (before.get("metadata") or {}).get("name") and before != review.template:
        message = "Saw the following changes without a name change (-old +new)"
        yield Finding(message, ("spec.template.metadata.name",), _changes(before, review.template))


def traffic_sum(review: Review) -> Findings:
    """Percentages make 100."""
    traffic = review.obj["spec"].get("traffic") or []
    total = sum(target.get("percent", 0) for target in traffic)
    if total != 100:  # noqa: PLR2004  # all of it
        yield Finding(f"Traffic targets sum to {total}, want 100", ("spec.traffic",))


def traffic_percent(review: Review) -> Findings:
    """Each percentage is one."""

    def one(target: Mapping[str, Any]) -> Findings:
        if not 0 <= target.get("percent", 0) <= 100:  # noqa: PLR2004  # a percentage
            yield out_of_bounds(target["percent"], 0, 100, "percent")

    yield from _targets(review, one)


def traffic_tags(review: Review) -> Findings:
    """A tag becomes part of a host name, and means one target."""
    seen: dict[str, int] = {}
    for index, target in enumerate(review.obj["spec"].get("traffic") or []):
        tag = target.get("tag", "")
        if not tag:
            continue
        if not is_dns_1035_label(tag):
            yield from under(f"spec.traffic[{index}]", [invalid(f"not a DNS 1035 label: {tag}", "tag")])
        if tag in seen:
            paths = (f"spec.traffic[{index}].tag", f"spec.traffic[{seen[tag]}].tag")
            yield Finding(f'Multiple definitions for "{tag}"', paths)
        seen.setdefault(tag, index)


def traffic_host(review: Review) -> Findings:
    """`<tag>-<name>` fits into a DNS label."""
    name = review.obj["metadata"].get("name", "")

    def one(target: Mapping[str, Any]) -> Findings:
        host = f"{target.get('tag', '')}-{name}"
        if target.get("tag") and is_dns_1035_label(target["tag"]) and not is_dns_1035_label(host):
            yield invalid(f'"{host}" is longer than a DNS label', "tag")

    yield from _targets(review, one)


def traffic_latest(review: Review) -> Findings:
    """A target is pinned to a revision or floats with the latest, not both."""

    def one(target: Mapping[str, Any]) -> Findings:
        pinned, latest = bool(target.get("revisionName")), target.get("latestRevision")
        if latest is not None and pinned == latest and not target.get("configurationName"):
            name, text = target.get("revisionName", ""), str(latest).lower()
            yield Finding(f'may not set revisionName "{name}" when latestRevision is {text}', ("latestRevision",))

    yield from _targets(review, one)


def traffic_of_a_service(review: Review) -> Findings:
    """A Service routes to its own Configuration, and URLs are Knative's to give."""

    def one(target: Mapping[str, Any]) -> Findings:
        if extra := sorted(target.keys() & {"configurationName", "url"}):
            yield disallowed(*extra)

    yield from _targets(review, one)


def traffic_of_a_route(review: Review) -> Findings:
    """A Route says for each target whether it means a revision or a Configuration."""

    def one(target: Mapping[str, Any]) -> Findings:
        both = ("revisionName", "configurationName")
        count = len([field for field in both if target.get(field)])
        if count != 1:
            yield (multiple_one_of if count else missing_one_of)(*both)
        if "url" in target:
            yield disallowed("url")

    yield from _targets(review, one)


def creator_kept(review: Review) -> Findings:
    """Who created it never changes; who modified it last changes only with the spec."""
    if review.old is None or review.obj["metadata"].get("ownerReferences"):
        return
    before = review.old["metadata"].get("annotations") or {}
    fixed = [CREATOR] if review.old.get("spec") != review.obj.get("spec") else [CREATOR, MODIFIER]
    for key in fixed:
        if before.get(key) != review.annotations.get(key):
            yield Finding("annotation value is immutable", (f"metadata.annotations.{key}",))


def revision_pod(review: Review) -> Findings:
    """A Revision's spec keeps the rules of `pod`; it is judged once, when it is made."""
    if review.old is None:
        for rule in POD_RULES:
            yield from under("spec", rule(review.obj["spec"], review.config))


def revision_fixed(review: Review) -> Findings:
    """A Revision's spec never changes."""
    if review.old is not None and review.old["spec"] != review.obj["spec"]:
        details = _changes(review.old["spec"], review.obj["spec"])
        yield Finding("Immutable fields changed (-old +new)", ("spec",), details)


def revision_annotations(review: Review) -> Findings:
    """A Revision's own annotations are the autoscaler's."""
    for rule in ANNOTATION_RULES:
        yield from under("metadata.annotations", rule(review.annotations, review.config))


def _targets(review: Review, rule: Callable[[Mapping[str, Any]], Findings]) -> Findings:
    yield from under("spec", each("traffic", review.obj["spec"].get("traffic") or [], rule))


def _changes(old: object, new: object) -> str:
    return f"-{json.dumps(old, sort_keys=True)}\n+{json.dumps(new, sort_keys=True)}"


_METADATA: Final[tuple[ObjectRule, ...]] = (dns_name, scaling_on_template_only, known_labels, creator_kept)
_TEMPLATE: Final[tuple[ObjectRule, ...]] = (
    template_annotations,
    progress_deadline,
    template_pod,
    revision_name,
    renamed_when_changed,
)
_TRAFFIC: Final[tuple[ObjectRule, ...]] = (traffic_sum, traffic_percent, traffic_tags, traffic_host, traffic_latest)

SERVICE_RULES: Final = (*_METADATA, rollout_duration, *_TEMPLATE, *_TRAFFIC, traffic_of_a_service)
CONFIGURATION_RULES: Final = (*_METADATA, *_TEMPLATE)
REVISION_RULES: Final[tuple[ObjectRule, ...]] = (
    dns_name,
    known_labels,
    revision_annotations,
    revision_pod,
    revision_fixed,
)
ROUTE_RULES: Final = (*_METADATA, rollout_duration, *_TRAFFIC, traffic_of_a_route)
