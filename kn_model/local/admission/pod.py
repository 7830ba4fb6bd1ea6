"""Rules for the pod spec of a revision: which fields exist, behind which feature, and how containers combine.

Table `POD_RULES`; each rule yields findings relative to the pod spec. Sources: knative.dev/serving
`pkg/apis/serving/{k8s_validation,fieldmask}.go`, `pkg/apis/config/features.go`.
"""

from collections.abc import Mapping
from typing import Any, Final

from kn_model.local.admission.config import ClusterConfig
from kn_model.local.admission.container import CONTAINER_RULES, Scope, each
from kn_model.local.admission.finding import (
    Finding,
    Findings,
    disallowed,
    invalid,
    missing,
    out_of_bounds,
    under,
)
from kn_model.local.admission.formats import is_dns_1123_subdomain
from kn_model.local.admission.probe import probe_findings
from kn_model.local.admission.volume import VOLUME_RULES, PodRule, PodSpec

_FIELDS: Final = frozenset(
    [
        "containers",
        "volumes",
        "imagePullSecrets",
        "serviceAccountName",
        "enableServiceLinks",
        "automountServiceAccountToken",
        "containerConcurrency",
        "timeoutSeconds",
        "responseStartTimeoutSeconds",
        "idleTimeoutSeconds",
        "initContainers",
    ]
)
# Field of a pod -> the key of config-features that opens it.
FEATURE_OF: Final[Mapping[str, str]] = {
    field: f"kubernetes.podspec-{field.lower()}"
    for field in (
        "affinity",
        "dnsConfig",
        "dnsPolicy",
        "hostAliases",
        "hostIPC",
        "hostNetwork",
        "hostPID",
        "nodeSelector",
        "priorityClassName",
        "runtimeClassName",
        "schedulerName",
        "securityContext",
        "shareProcessNamespace",
        "tolerations",
        "topologySpreadConstraints",
    )
}
INIT_CONTAINERS: Final = "kubernetes.podspec-init-containers"
_TIMEOUTS: Final = ("timeoutSeconds", "responseStartTimeoutSeconds", "idleTimeoutSeconds")


def known_fields(spec: PodSpec, config: ClusterConfig) -> Findings:
    """Fields of a pod that Knative carries, or that this cluster has opened."""
    opened = {field for field, feature in FEATURE_OF.items() if config.has(feature)}
    if extra := sorted(spec.keys() - _FIELDS - opened):
        yield disallowed(*extra)


def token_only_refused(spec: PodSpec, config: ClusterConfig) -> Findings:
    """A pod may refuse the service account's token; asking for it is the account's business."""
    del config
    if spec.get("automountServiceAccountToken") is True:
        yield disallowed("automountServiceAccountToken")


def account_name(spec: PodSpec, config: ClusterConfig) -> Findings:
    """A service account's name is a DNS name."""
    del config
    name = spec.get("serviceAccountName", "")
    if name and not is_dns_1123_subdomain(name):
        yield invalid(name, "serviceAccountName", "a lowercase RFC 1123 subdomain")


def timeouts(spec: PodSpec, config: ClusterConfig) -> Findings:
    """No timeout beyond `max-revision-timeout-seconds`: the activator's own grace period ends there."""
    for field in _TIMEOUTS:
        value = spec.get(field, 0)
        if not 0 <= value <= config.max_timeout_s:
            yield out_of_bounds(value, 0, config.max_timeout_s, field)


def concurrency(spec: PodSpec, config: ClusterConfig) -> Findings:
    """Concurrency within the cluster's limit; 0 is unlimited."""
    value, highest = spec.get("containerConcurrency", 0), config.max_container_concurrency
    if not 0 <= value <= highest:
        yield out_of_bounds(value, 0, highest, "containerConcurrency")


def some_container(spec: PodSpec, config: ClusterConfig) -> Findings:
    """A revision has a container, and more than one only where that is switched on."""
    count = len(spec.get("containers", ()))
    if count == 0:
        yield missing("containers")
    elif count > 1 and not config.has("multi-container"):
        yield Finding(f"multi-container is off, but found {count} containers")


def different_names(spec: PodSpec, config: ClusterConfig) -> Findings:
    """Containers, those that run before the others included, are told apart by name."""
    del config
    seen: set[str] = set()

    def one(container: Mapping[str, Any]) -> Findings:
        name = container.get("name", "")
        if name in seen:
            yield Finding(f'duplicate container name "{name}"', ("name",))
        seen.add(name)

    yield from each("containers", spec.get("containers", ()), one)
    yield from each("initContainers", spec.get("initContainers", ()), one)


def one_port(spec: PodSpec, config: ClusterConfig) -> Findings:
    """Exactly one port in the pod: it says which container serves. A single container may leave it to Knative."""
    del config
    containers = spec.get("containers", ())
    count = sum(len(container.get("ports", ())) for container in containers)
    if count == 0 and len(containers) > 1:
        yield from under("containers[*]", [missing("ports")])
    if count > 1:
        details = "Only a single port is allowed across all containers"
        yield Finding("more than one container port is set", ("containers[*].ports",), details)


def init_containers_enabled(spec: PodSpec, config: ClusterConfig) -> Findings:
    """Init containers need their feature."""
    count = len(spec.get("initContainers", ()))
    if count and not config.has(INIT_CONTAINERS):
        yield Finding(f"pod spec support for init-containers is off, but found {count} init containers")


def init_containers_without_probes(spec: PodSpec, config: ClusterConfig) -> Findings:
    """What runs once and ends is not probed."""
    del config

    def one(container: Mapping[str, Any]) -> Findings:
        for field in ("livenessProbe", "readinessProbe", "startupProbe"):
            if field in container:
                yield Finding("field not allowed in an init container", (field,))

    yield from each("initContainers", spec.get("initContainers", ()), one)


def sidecars_without_probes(spec: PodSpec, config: ClusterConfig) -> Findings:
    """Only the container with the port is probed, unless `multi-container-probing` is on."""
    containers = spec.get("containers", ())
    if config.has("multi-container-probing") or len(containers) < 2:  # noqa: PLR2004  # two make the first sidecar
        return

    def one(container: Mapping[str, Any]) -> Findings:
        if not container.get("ports"):
            for field in ("livenessProbe", "readinessProbe"):
                if field in container:
                    yield disallowed(field)

    yield from each("containers", containers, one)


def containers_valid(spec: PodSpec, config: ClusterConfig) -> Findings:
    """Every container keeps the rules of `container`, the serving one those of `probe` too."""
    volumes = {volume.get("name", ""): volume for volume in spec.get("volumes", ())}
    alone = len(spec.get("containers", ())) == 1

    def one(container: Mapping[str, Any]) -> Findings:
        serving = alone or bool(container.get("ports"))
        for rule in CONTAINER_RULES:
            yield from rule(container, Scope(config, volumes, serving=serving))
        if serving:
            yield from probe_findings(container, _port_name(container))

    def before(container: Mapping[str, Any]) -> Findings:
        for rule in CONTAINER_RULES:
            yield from rule(container, Scope(config, volumes, serving=False))

    yield from each("containers", spec.get("containers", ()), one)
    yield from each("initContainers", spec.get("initContainers", ()), before)


def _port_name(container: Mapping[str, Any]) -> str:
    ports = container.get("ports", ())
    # What Knative calls the port that a service leaves open.
    return (ports[0].get("name") if ports else "") or "http"


POD_RULES: Final[tuple[PodRule, ...]] = (
    known_fields,
    token_only_refused,
    account_name,
    timeouts,
    concurrency,
    some_container,
    different_names,
    one_port,
    init_containers_enabled,
    init_containers_without_probes,
    sidecars_without_probes,
    *VOLUME_RULES,
    containers_valid,
)
