"""One case per admission rule: the object breaks that rule alone, and the webhook's answer is its message.

A rule that is taken out of its table makes its case red, because nothing else refuses the object. The file is
long because it is that table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import pytest

from kn_model.local.admission import container, defaults, eventing, pod, probe, scale, serving, sources, volume
from kn_model.local.admission.admit import Denied, admit
from kn_model.local.admission.config import ClusterConfig
from tests.unit.admission_objects import ABSENT, BROKER, PING, REVISION, ROUTE, SERVICE, TRIGGER, WATCH, put

TEMPLATE = "spec.template.spec"
CONTAINER = f"{TEMPLATE}.containers[0]"
ANNOTATIONS = "spec.template.metadata.annotations"
KPA = "autoscaling.knative.dev"


@dataclass(frozen=True)
class Case:
    """`base` with `changes` breaks `rule`, and the answer ends with `message`."""

    rule: Callable[..., Any]
    message: str
    changes: Mapping[str, Any]
    base: Mapping[str, Any] = field(default_factory=lambda: SERVICE)
    old: Mapping[str, Any] | None = None
    """Changes that lead from `base` to the object before the write; None creates."""
    config: ClusterConfig = field(default_factory=ClusterConfig)


def annotated(name: str, value: str) -> Mapping[str, Any]:
    """One autoscaling annotation on the template."""
    return {f"{ANNOTATIONS}#{KPA}/{name}": value}


def scaling(name: str) -> str:
    """Where the annotation is, as messages say it."""
    return f"{ANNOTATIONS}.{KPA}/{name}"


REF = {"apiVersion": "v1", "kind": "ConfigMap", "name": "other"}
SIDECAR = {"name": "side", "image": "i", "command": ["c"]}

CASES = (
    # Autoscaling annotations.
    Case(scale.known_class, f"invalid value: x.{KPA}: {scaling('class')}", annotated("class", f"x.{KPA}")),
    Case(scale.whole_scales, f"invalid value: two: {scaling('max-scale')}", annotated("max-scale", "two")),
    Case(scale.whole_scales, f"expected 0 <= -1 <= 2147483647: {scaling('min-scale')}", annotated("min-scale", "-1")),
    Case(
        scale.ordered_scales,
        f"max-scale=1 is less than min-scale=2: {scaling('max-scale')}, {scaling('min-scale')}",
        {**annotated("min-scale", "2"), **annotated("max-scale", "1")},
    ),
    Case(
        scale.limited_scale,
        f"expected 1 <= 9 <= 5: {scaling('max-scale')}",
        annotated("max-scale", "9"),
        config=ClusterConfig(max_scale_limit=5),
    ),
    Case(
        scale.activation_scale,
        f"min-activate-scale=1 must be greater than 1: {scaling('activation-scale')}",
        annotated("activation-scale", "1"),
    ),
    Case(
        scale.initial_scale,
        f"invalid value: 0: {scaling('initial-scale')}=0 not allowed by cluster",
        annotated("initial-scale", "0"),
    ),
    Case(scale.target, f"target 0 should be at least 0.01: {scaling('target')}", annotated("target", "0")),
    Case(
        scale.percentages,
        f"expected 1 <= 101 <= 100: {scaling('target-utilization-percentage')}",
        annotated("target-utilization-percentage", "101"),
    ),
    Case(
        scale.burst_capacity,
        f"invalid value: -2: {scaling('target-burst-capacity')}",
        annotated("target-burst-capacity", "-2"),
    ),
    Case(scale.window, f"expected 6s <= 5s <= 1h0m0s: {scaling('window')}", annotated("window", "5s")),
    Case(
        scale.retention,
        f"expected 0s <= 61m <= 1h0m0s: {scaling('scale-to-zero-pod-retention-period')}",
        annotated("scale-to-zero-pod-retention-period", "61m"),
    ),
    Case(
        scale.scale_down_delay,
        f"must be specified with at most second precision: {scaling('scale-down-delay')}",
        annotated("scale-down-delay", "1500ms"),
    ),
    Case(scale.metric, f"invalid value: cpu: {scaling('metric')}", annotated("metric", "cpu")),
    Case(
        scale.algorithm,
        f"invalid value: median: {scaling('metric-aggregation-algorithm')}",
        {**annotated("class", f"kpa.{KPA}"), **annotated("metric-aggregation-algorithm", "median")},
    ),
    # Probes.
    Case(
        probe.one_handler,
        f"expected exactly one, got both: {CONTAINER}.readinessProbe.httpGet, {CONTAINER}.readinessProbe.tcpSocket",
        {f"{CONTAINER}.readinessProbe.tcpSocket": {"port": 1}},
    ),
    Case(
        probe.port_of_the_service,
        f"invalid value: admin: {CONTAINER}.readinessProbe.httpGet.port\nProbe port must match container port",
        {f"{CONTAINER}.readinessProbe.httpGet.port": "admin"},
    ),
    Case(
        probe.in_range,
        f"expected 0 <= -1 <= 2147483647: {CONTAINER}.readinessProbe.initialDelaySeconds",
        {f"{CONTAINER}.readinessProbe.initialDelaySeconds": -1},
    ),
    Case(
        probe.aggressive_without_thresholds,
        f"failureThreshold is disallowed when periodSeconds is zero: {CONTAINER}.readinessProbe.failureThreshold",
        {f"{CONTAINER}.readinessProbe.failureThreshold": 3},
    ),
    Case(
        probe.periodic_with_thresholds,
        f"expected 1 <= -1 <= 2147483647: {CONTAINER}.readinessProbe.timeoutSeconds",
        {f"{CONTAINER}.readinessProbe.periodSeconds": 1, f"{CONTAINER}.readinessProbe.timeoutSeconds": -1},
    ),
    # Containers.
    Case(
        container.known_fields,
        f"must not set the field(s): {CONTAINER}.lifecycle",
        {f"{CONTAINER}.lifecycle": {}},
    ),
    Case(
        container.free_name,
        f'"queue-proxy" is a reserved container name: {CONTAINER}.name',
        {f"{CONTAINER}.name": "queue-proxy"},
    ),
    Case(container.image_given, f"missing field(s): {CONTAINER}.image", {f"{CONTAINER}.image": ABSENT}),
    Case(
        container.image_given,
        f'Failed to parse image reference: {CONTAINER}.image\nimage: "a@sha256:later"',
        {f"{CONTAINER}.image": "a@sha256:later"},
    ),
    Case(
        container.free_environment,
        f'"K_SERVICE" is a reserved environment variable: {CONTAINER}.env[1].name',
        {f"{CONTAINER}.env.append": {"name": "K_SERVICE", "value": "x"}},
    ),
    Case(
        container.environment_sources,
        f"must not set the field(s): {CONTAINER}.env[0].valueFrom.fieldRef",
        {f"{CONTAINER}.env[0].valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ),
    Case(
        container.environment_from,
        f"expected exactly one, got neither: {CONTAINER}.envFrom[0].configMapRef, {CONTAINER}.envFrom[0].secretRef",
        {f"{CONTAINER}.envFrom": [{"prefix": "A_"}]},
    ),
    Case(
        container.free_port,
        f"invalid value: 8012 is a reserved port: {CONTAINER}.ports.containerPort\n"
        "8012 is a reserved port, please use a different value",
        {f"{CONTAINER}.ports[0].containerPort": 8012},
    ),
    Case(
        container.port_protocol,
        f"Port name web is not allowed: {CONTAINER}.ports\nName must be empty, or one of: 'h2c', 'http1'",
        {f"{CONTAINER}.ports[0].name": "web"},
    ),
    Case(
        container.resource_fields,
        f"must not set the field(s): {CONTAINER}.resources.claims",
        {f"{CONTAINER}.resources.claims": []},
    ),
    Case(
        container.security_fields,
        f"must not set the field(s): {CONTAINER}.securityContext.privileged",
        {f"{CONTAINER}.securityContext.privileged": True},
    ),
    Case(
        container.security_fields,
        f"must not set the field(s): {CONTAINER}.securityContext.capabilities.add",
        {f"{CONTAINER}.securityContext.capabilities": {"add": ["NET_ADMIN"]}},
    ),
    Case(
        container.security_ids,
        f"expected 0 <= -1 <= 2147483647: {CONTAINER}.securityContext.runAsUser",
        {f"{CONTAINER}.securityContext.runAsUser": -1},
    ),
    Case(
        container.termination_message,
        f"invalid value: Socket: {CONTAINER}.terminationMessagePolicy",
        {f"{CONTAINER}.terminationMessagePolicy": "Socket"},
    ),
    Case(
        container.mounted_volumes,
        f"volumeMount has no matching volume: {CONTAINER}.volumeMounts[1].name",
        {f"{CONTAINER}.volumeMounts.append": {"name": "x", "mountPath": "/x"}},
    ),
    Case(
        container.mount_paths,
        f'mountPath "/dev" is a reserved path: {CONTAINER}.volumeMounts[0].mountPath',
        {f"{CONTAINER}.volumeMounts[0].mountPath": "/dev/"},
    ),
    Case(
        container.mount_paths,
        f'invalid value: "/scratch" must be unique: {CONTAINER}.volumeMounts[1].mountPath',
        {f"{CONTAINER}.volumeMounts.append": {"name": "tmp", "mountPath": "/scratch"}},
    ),
    Case(
        container.mount_fields,
        f"must not set the field(s): {CONTAINER}.volumeMounts[0].subPathExpr",
        {f"{CONTAINER}.volumeMounts[0].subPathExpr": "$(A)"},
    ),
    Case(
        container.read_only_claims,
        f"volume is readOnly but volume mount is not: {CONTAINER}.volumeMounts[0].readOnly",
        {f"{TEMPLATE}.volumes[0]": {"name": "tmp", "persistentVolumeClaim": {"claimName": "c", "readOnly": True}}},
        config=ClusterConfig(features=frozenset({"kubernetes.podspec-persistent-volume-claim"})),
    ),
    # Pods.
    Case(
        pod.known_fields,
        f"must not set the field(s): {TEMPLATE}.nodeSelector",
        {f"{TEMPLATE}.nodeSelector": {"a": "b"}},
    ),
    Case(
        pod.known_fields,
        f"must not set the field(s): {TEMPLATE}.terminationGracePeriodSeconds",
        {f"{TEMPLATE}.terminationGracePeriodSeconds": 1},
    ),
    Case(
        pod.token_only_refused,
        f"must not set the field(s): {TEMPLATE}.automountServiceAccountToken",
        {f"{TEMPLATE}.automountServiceAccountToken": True},
    ),
    Case(
        pod.account_name,
        f"invalid value: A: {TEMPLATE}.serviceAccountName\na lowercase RFC 1123 subdomain",
        {f"{TEMPLATE}.serviceAccountName": "A"},
    ),
    Case(pod.timeouts, f"expected 0 <= 601 <= 600: {TEMPLATE}.timeoutSeconds", {f"{TEMPLATE}.timeoutSeconds": 601}),
    Case(
        pod.concurrency,
        f"expected 0 <= 1001 <= 1000: {TEMPLATE}.containerConcurrency",
        {f"{TEMPLATE}.containerConcurrency": 1001},
    ),
    Case(
        pod.some_container,
        f"missing field(s): {TEMPLATE}.containers",
        {f"{TEMPLATE}.containers": [], f"{TEMPLATE}.volumes": []},
    ),
    Case(
        pod.different_names,
        f'duplicate container name "auth": {TEMPLATE}.containers[1].name',
        {f"{TEMPLATE}.containers.append": {**SIDECAR, "name": "auth"}},
    ),
    Case(
        pod.one_port,
        f"more than one container port is set: {TEMPLATE}.containers[*].ports\n"
        "Only a single port is allowed across all containers",
        {f"{CONTAINER}.ports.append": {"containerPort": 8081}},
    ),
    Case(
        pod.init_containers_enabled,
        f"pod spec support for init-containers is off, but found 1 init containers: {TEMPLATE}",
        {f"{TEMPLATE}.initContainers": [SIDECAR]},
    ),
    Case(
        pod.init_containers_without_probes,
        f"field not allowed in an init container: {TEMPLATE}.initContainers[0].startupProbe",
        {f"{TEMPLATE}.initContainers": [{**SIDECAR, "startupProbe": {"httpGet": {"path": "/"}}}]},
        config=ClusterConfig(features=frozenset({pod.INIT_CONTAINERS, "kubernetes.podspec-volumes-emptydir"})),
    ),
    Case(
        pod.sidecars_without_probes,
        f"must not set the field(s): {TEMPLATE}.containers[1].livenessProbe",
        {f"{TEMPLATE}.containers.append": {**SIDECAR, "livenessProbe": {"httpGet": {"path": "/"}}}},
    ),
    Case(
        volume.volume_names,
        f"invalid value: T_MP: {TEMPLATE}.volumes[0].name",
        {f"{TEMPLATE}.volumes[0].name": "T_MP", f"{CONTAINER}.volumeMounts[0].name": "T_MP"},
    ),
    Case(
        volume.volumes_mounted,
        f'volume with name "x" not mounted: {TEMPLATE}.volumes[1].name',
        {f"{TEMPLATE}.volumes.append": {"name": "x", "emptyDir": {}}},
    ),
    Case(
        volume.volume_sources,
        f"must not set the field(s): {TEMPLATE}.volumes[0].hostPath",
        {f"{TEMPLATE}.volumes[0]": {"name": "tmp", "hostPath": {"path": "/"}}},
    ),
    Case(
        volume.empty_dirs,
        f"invalid value: Tape: {TEMPLATE}.volumes[0].emptyDir.medium",
        {f"{TEMPLATE}.volumes[0].emptyDir.medium": "Tape"},
    ),
    Case(
        volume.claims_read_only,
        "Persistent volume write support is disabled, but found persistent volume claim c that is not read-only: "
        f"{TEMPLATE}.volumes[0]",
        {f"{TEMPLATE}.volumes[0]": {"name": "tmp", "persistentVolumeClaim": {"claimName": "c"}}},
        config=ClusterConfig(features=frozenset({"kubernetes.podspec-persistent-volume-claim"})),
    ),
    Case(
        pod.containers_valid,
        f'"PORT" is a reserved environment variable: {CONTAINER}.env[0].name',
        {f"{CONTAINER}.env[0].name": "PORT"},
    ),
    # Services.
    Case(serving.dns_name, "invalid value: not a DNS 1035 label: 1a: metadata.name", {"metadata.name": "1a"}),
    Case(
        serving.scaling_on_template_only,
        f'invalid key name "{KPA}/min-scale": metadata.annotations\n'
        'autoscaling annotations must be put under "spec.template.metadata.annotations" to work',
        {f"metadata.annotations#{KPA}/min-scale": "1"},
    ),
    Case(
        serving.known_labels,
        "invalid value: public: metadata.labels.networking.knative.dev/visibility",
        {"metadata.labels#networking.knative.dev/visibility": "public"},
    ),
    Case(
        serving.known_labels,
        'invalid key name "serving.knative.dev/x": metadata.labels',
        {"metadata.labels#serving.knative.dev/x": "y"},
    ),
    Case(
        serving.creator_kept,
        "annotation value is immutable: metadata.annotations.serving.knative.dev/creator",
        {f"metadata.annotations#{defaults.CREATOR}": "me"},
        old={},
    ),
    Case(
        serving.rollout_duration,
        "rollout-duration=1500ms is not at second precision: metadata.annotations.serving.knative.dev/rollout-duration",
        {"metadata.annotations#serving.knative.dev/rollout-duration": "1500ms"},
    ),
    Case(
        serving.template_annotations,
        f"invalid value: soon: {scaling('window')}",
        annotated("window", "soon"),
    ),
    Case(
        serving.progress_deadline,
        f"progress-deadline=1.5s is not at second precision: {ANNOTATIONS}.serving.knative.dev/progress-deadline",
        {f"{ANNOTATIONS}#serving.knative.dev/progress-deadline": "1.5s"},
    ),
    Case(
        serving.template_pod,
        f"expected 0 <= 700 <= 600: {TEMPLATE}.timeoutSeconds",
        {f"{TEMPLATE}.timeoutSeconds": 700},
    ),
    Case(
        serving.revision_name,
        'invalid value: "other-1" must have prefix "auth-": spec.template.metadata.name',
        {"spec.template.metadata.name": "other-1"},
    ),
    Case(serving.traffic_sum, "Traffic targets sum to 90, want 100: spec.traffic", {"spec.traffic[0].percent": 90}),
    Case(
        serving.traffic_percent,
        "expected 0 <= -1 <= 100: spec.traffic[1].percent\nexpected 0 <= 101 <= 100: spec.traffic[0].percent",
        {"spec.traffic[0].percent": 101, "spec.traffic.append": {"revisionName": "auth-1", "percent": -1}},
    ),
    Case(
        serving.traffic_tags,
        'Multiple definitions for "a": spec.traffic[1].tag, spec.traffic[0].tag',
        {"spec.traffic[0].tag": "a", "spec.traffic.append": {"revisionName": "auth-1", "tag": "a"}},
    ),
    Case(
        serving.traffic_host,
        f'invalid value: "{"a" * 60}-auth" is longer than a DNS label: spec.traffic[0].tag',
        {"spec.traffic[0].tag": "a" * 60},
    ),
    Case(
        serving.traffic_latest,
        'may not set revisionName "auth-1" when latestRevision is true: spec.traffic[0].latestRevision',
        {"spec.traffic[0].revisionName": "auth-1"},
    ),
    Case(
        serving.traffic_of_a_service,
        "must not set the field(s): spec.traffic[0].configurationName",
        {"spec.traffic[0].configurationName": "auth"},
    ),
    # Revisions and Routes.
    Case(
        serving.revision_annotations,
        f"invalid value: soon: metadata.annotations.{KPA}/window",
        {f"metadata.annotations#{KPA}/window": "soon"},
        base=REVISION,
    ),
    Case(serving.revision_pod, "expected 0 <= 700 <= 600: spec.timeoutSeconds", {"spec.timeoutSeconds": 700}, REVISION),
    Case(
        serving.traffic_of_a_route,
        "expected exactly one, got neither: spec.traffic[0].revisionName, spec.traffic[0].configurationName",
        {"spec.traffic[0].configurationName": ABSENT},
        base=ROUTE,
    ),
    # Delivery, brokers, triggers.
    Case(eventing.retry_count, "invalid value: -1: spec.delivery.retry", {"spec.delivery.retry": -1}, TRIGGER),
    Case(
        eventing.retry_policy,
        "invalid value: random: spec.delivery.backoffPolicy",
        {"spec.delivery.backoffPolicy": "random"},
        TRIGGER,
    ),
    Case(
        eventing.delivery_periods,
        "invalid value: PT0S: spec.delivery.timeout",
        {"spec.delivery.timeout": "PT0S"},
        TRIGGER,
    ),
    Case(
        eventing.delivery_gated,
        "must not set the field(s): spec.delivery.retryAfterMax",
        {"spec.delivery.retryAfterMax": "PT1S"},
        TRIGGER,
    ),
    Case(
        eventing.delivery_format, "invalid value: xml: spec.delivery.format", {"spec.delivery.format": "xml"}, TRIGGER
    ),
    Case(
        eventing.dead_letters,
        "expected at least one, got none: spec.delivery.deadLetterSink.ref, spec.delivery.deadLetterSink.uri",
        {"spec.delivery.deadLetterSink": {}},
        TRIGGER,
    ),
    Case(
        eventing.delivery_valid,
        "invalid value: 1s: spec.delivery.backoffDelay",
        {"spec.delivery.backoffDelay": "1s"},
        BROKER,
    ),
    Case(
        eventing.broker_class_given,
        "missing field(s): eventing.knative.dev/broker.class",
        {"metadata.annotations#eventing.knative.dev/broker.class": ""},
        BROKER,
    ),
    Case(eventing.broker_config, "missing field(s): spec.config.name", {"spec.config.name": ABSENT}, BROKER),
    Case(eventing.trigger_broker, "missing field(s): spec.broker", {"spec.broker": ABSENT}, TRIGGER),
    Case(
        eventing.trigger_subscriber,
        "missing field(s): spec.subscriber.ref.name",
        {"spec.subscriber.ref.name": ABSENT},
        TRIGGER,
    ),
    Case(
        eventing.trigger_attributes,
        "invalid attribute name: 'model_id': spec.filter.attributes\n"
        "Attribute name must start with a letter and can only contain lowercase alphanumeric",
        {"spec.filter": {"attributes": {"model_id": "x"}}},
        TRIGGER,
    ),
    Case(
        eventing.trigger_filters,
        "multiple dialects found, filters can have only one dialect set: exact, prefix: spec.filters[0]",
        {"spec.filters[0].prefix": {"type": "b"}},
        TRIGGER,
    ),
    # Sources.
    Case(sources.source_sink, "expected at least one, got none: spec.sink.ref, spec.sink.uri", {"spec.sink": {}}, PING),
    Case(
        sources.source_overrides,
        "invalid key name 'model_id': spec.ceOverrides.extensions.model_id\n"
        "CloudEvent attributes are lower-case letters and digits, at most 20",
        {"spec.ceOverrides": {"extensions": {"model_id": "x"}}},
        PING,
    ),
    Case(
        sources.ping_schedule,
        "invalid value: unsupported descriptor @every: spec.schedule",
        {"spec.schedule": "@every 1m"},
        PING,
    ),
    Case(
        sources.ping_timezone,
        "invalid value: provided bad location Moon/Sea: unknown time zone Moon/Sea: spec.timezone",
        {"spec.timezone": "Moon/Sea"},
        PING,
    ),
    Case(
        sources.ping_data,
        "expected exactly one, got both: spec.data, spec.dataBase64",
        {"spec.data": "a", "spec.dataBase64": "YQ=="},
        PING,
    ),
    Case(sources.watched_mode, "invalid value: Diff: spec.mode", {"spec.mode": "Diff"}, WATCH),
    Case(sources.watched_resources, "missing field(s): spec.resources", {"spec.resources": []}, WATCH),
    Case(
        sources.watched_selectors,
        "invalid value: Near: spec.resources[0].selector.matchExpressions[0].operator",
        {"spec.resources[0].selector.matchExpressions[0].operator": "Near"},
        WATCH,
    ),
)
# Rules whose message holds the whole difference: what it starts with is compared.
CHANGES = (
    Case(
        serving.renamed_when_changed,
        "Saw the following changes without a name change (-old +new): spec.template.metadata.name\n",
        {"spec.template.metadata.name": "auth-1", f"{TEMPLATE}.timeoutSeconds": 20},
        old={"spec.template.metadata.name": "auth-1"},
    ),
    Case(
        serving.revision_fixed,
        "Immutable fields changed (-old +new): spec\n",
        {"spec.timeoutSeconds": 20},
        base=REVISION,
        old={},
    ),
    Case(
        eventing.broker_fixed,
        "Immutable fields changed (-old +new): spec, config\n",
        {"spec.config": REF},
        base=BROKER,
        old={},
    ),
    Case(
        eventing.broker_fixed,
        "Immutable fields changed (-old +new): annotations\n",
        {"metadata.annotations#eventing.knative.dev/broker.class": "Kafka"},
        base=BROKER,
        old={},
    ),
    Case(
        eventing.trigger_fixed,
        "Immutable fields changed (-old +new): spec, broker\n",
        {"spec.broker": "other"},
        base=TRIGGER,
        old={},
    ),
)
TABLES = (
    scale.ANNOTATION_RULES,
    probe.LIVENESS_RULES,
    probe.READINESS_RULES,
    container.CONTAINER_RULES,
    pod.POD_RULES,
    volume.VOLUME_RULES,
    serving.SERVICE_RULES,
    serving.CONFIGURATION_RULES,
    serving.REVISION_RULES,
    serving.ROUTE_RULES,
    eventing.DELIVERY_RULES,
    eventing.BROKER_RULES,
    eventing.TRIGGER_RULES,
    sources.PING_SOURCE_RULES,
    sources.API_SERVER_SOURCE_RULES,
)


def refusal(case: Case) -> str:
    """What the webhook says to the case, without the words that all refusals start with."""
    old = None if case.old is None else admit(put(case.base, case.old), config=case.config)
    changed = put(case.base if old is None else old, case.changes)
    with pytest.raises(Denied) as denied:
        admit(changed, old, config=case.config)
    return denied.value.message.partition("denied the request: validation failed: ")[2]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule.__name__)
def test_a_broken_rule_is_named_and_nothing_else(case: Case) -> None:
    """The answer to an object that breaks one rule is that rule's message."""
    assert case.message == refusal(case)


@pytest.mark.parametrize("case", CHANGES, ids=lambda case: case.rule.__name__)
def test_what_may_not_change_is_refused_with_the_difference(case: Case) -> None:
    """An immutable part keeps its value, and the answer shows both."""
    assert case.message == refusal(case)[: len(case.message)]


@pytest.mark.parametrize(
    "base", [SERVICE, REVISION, ROUTE, BROKER, TRIGGER, PING, WATCH], ids=lambda base: base["kind"]
)
def test_the_cases_start_from_objects_that_are_admitted(base: Mapping[str, Any]) -> None:
    """Without a change, each base passes: what a case reports is the change's doing."""
    assert base["metadata"]["name"] == admit(base)["metadata"]["name"]


def test_every_rule_has_a_case() -> None:
    """A rule that no object is known to break is not trusted."""
    expected = {rule.__name__ for rule in chain.from_iterable(TABLES)}
    actual = {case.rule.__name__ for case in (*CASES, *CHANGES)}
    assert expected == actual
