"""Rules for the pod spec of a revision: which fields exist, behind which feature, volumes, and how containers combine.

Table `POD_RULES`; each rule yields findings relative to the pod spec. Sources: knative.dev/serving
`pkg/apis/serving/{k8s_validation,fieldmask}.go`, `pkg/apis/config/features.go`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from kn_model.local.admission_config import ClusterConfig
from kn_model.local.admission_container import CONTAINER_RULES, Scope, each
from kn_model.local.admission_finding import (
    Finding,
    Findings,
    disallowed,
    invalid,
    missing,
    missing_one_of,
    multiple_one_of,
    out_of_bounds,
    under,
)
from kn_model.local.admission_formats import is_dns_1123_label, is_dns_1123_subdomain
from kn_model.local.admission_probe import probe_findings

PodSpec: TypeAlias = Mapping[str, Any]
PodRule: TypeAlias = Callable[[PodSpec, ClusterConfig], Findings]

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
_CLAIM: Final = "kubernetes.podspec-persistent-volume-claim"
_CLAIM_WRITE: Final = "kubernetes.podspec-persistent-volume-write"
_FREE_SOURCES: Final = ("secret", "configMap", "projected")
_FEATURE_OF_SOURCE: Final[Mapping[str, str]] = {
    "emptyDir": "kubernetes.podspec-volumes-emptydir",
    "persistentVolumeClaim": _CLAIM,
    "hostPath": "kubernetes.podspec-volumes-hostpath",
    "csi": "kubernetes.podspec-volumes-csi",
    "ephemeral": "kubernetes.podspec-volumes-ephemeral",
    "image": "kubernetes.podspec-volumes-image",
}
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


def volume_names(spec: PodSpec, config: ClusterConfig) -> Findings:
    """Volumes have DNS labels as names, each its own."""
    del config
    seen: set[str] = set()

    def one(volume: Mapping[str, Any]) -> Findings:
        name = volume.get("name", "")
        if not name:
            yield missing("name")
        elif not is_dns_1123_label(name):
            yield invalid(name, "name")
        if name in seen:
            yield Finding(f'duplicate volume name "{name}"', ("name",))
        seen.add(name)

    yield from each("volumes", spec.get("volumes", ()), one)


def volumes_mounted(spec: PodSpec, config: ClusterConfig) -> Findings:
    """A volume that no container mounts is a mistake."""
    del config
    containers = (*spec.get("initContainers", ()), *spec.get("containers", ()))
    mounted = {mount.get("name") for container in containers for mount in container.get("volumeMounts", ())}

    def one(volume: Mapping[str, Any]) -> Findings:
        if volume.get("name") not in mounted:
            yield Finding(f'volume with name "{volume.get("name", "")}" not mounted', ("name",))

    yield from each("volumes", spec.get("volumes", ()), one)


def volume_sources(spec: PodSpec, config: ClusterConfig) -> Findings:
    """A volume has exactly one source, of a kind that this cluster has opened."""
    opened = [source for source, feature in _FEATURE_OF_SOURCE.items() if config.has(feature)]

    def one(volume: Mapping[str, Any]) -> Findings:
        chosen = sorted(volume.keys() - {"name"})
        closed = [source for source in chosen if source not in (*_FREE_SOURCES, *opened)]
        if closed:
            yield disallowed(*closed)
        elif not chosen:
            yield missing_one_of(*_FREE_SOURCES, *opened)
        elif len(chosen) > 1:
            yield multiple_one_of(*chosen)

    yield from each("volumes", spec.get("volumes", ()), one)


def empty_dirs(spec: PodSpec, config: ClusterConfig) -> Findings:
    """An emptyDir lies on disk or in memory."""
    del config

    def one(volume: Mapping[str, Any]) -> Findings:
        source = volume.get("emptyDir") or {}
        if source.get("medium", "") not in ("", "Memory"):
            yield from under("emptyDir", [invalid(source["medium"], "medium")])
        if str(source.get("sizeLimit", "0")).startswith("-"):
            yield from under("emptyDir", [invalid(source["sizeLimit"], "sizeLimit")])

    yield from each("volumes", spec.get("volumes", ()), one)


def claims_read_only(spec: PodSpec, config: ClusterConfig) -> Findings:
    """Writing to a claim that several replicas share needs a feature of its own."""
    if config.has(_CLAIM_WRITE):
        return

    def one(volume: Mapping[str, Any]) -> Findings:
        claim = volume.get("persistentVolumeClaim")
        if claim and not claim.get("readOnly"):
            name = claim.get("claimName", "")
            yield Finding(
                f"Persistent volume write support is disabled, but found persistent volume claim {name} "
                "that is not read-only"
            )

    yield from each("volumes", spec.get("volumes", ()), one)


def containers_valid(spec: PodSpec, config: ClusterConfig) -> Findings:
    """Every container keeps the rules of `admission_container`, the serving one those of `admission_probe` too."""
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
    volume_names,
    volumes_mounted,
    volume_sources,
    empty_dirs,
    claims_read_only,
    containers_valid,
)
