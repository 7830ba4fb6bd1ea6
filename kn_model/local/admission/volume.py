"""Rules for the volumes of a revision's pod; how containers mount them is in `container`.

Table `VOLUME_RULES`; each rule yields findings relative to the pod spec. Source: knative.dev/serving
`pkg/apis/serving/k8s_validation.go` (ValidateVolumes).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from kn_model.local.admission.config import ClusterConfig
from kn_model.local.admission.container import each
from kn_model.local.admission.finding import (
    Finding,
    Findings,
    disallowed,
    invalid,
    missing,
    missing_one_of,
    multiple_one_of,
    under,
)
from kn_model.local.admission.formats import is_dns_1123_label

PodSpec: TypeAlias = Mapping[str, Any]
PodRule: TypeAlias = Callable[[PodSpec, ClusterConfig], Findings]

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


VOLUME_RULES: Final[tuple[PodRule, ...]] = (
    volume_names,
    volumes_mounted,
    volume_sources,
    empty_dirs,
    claims_read_only,
)
