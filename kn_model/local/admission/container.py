"""Rules for one container of a revision: names, environment, ports, mounts, security.

Table `CONTAINER_RULES`; each rule yields findings relative to the container. Sources: knative.dev/serving
`pkg/apis/serving/k8s_validation.go` (validate) and `fieldmask.go` (which fields exist at all).
"""

import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from kn_model.local.admission.config import ClusterConfig
from kn_model.local.admission.finding import (
    INT32_MAX,
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
from kn_model.local.admission.formats import is_image_reference

RESERVED_ENV: Final = frozenset({"PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"})
# queue-proxy's own: backend, backend HTTP/2, admin, two for metrics, profiling.
RESERVED_PORTS: Final = frozenset({8012, 8013, 8022, 9090, 9091, 8008})
RESERVED_PATHS: Final = frozenset({"/", "/dev", "/dev/log"})
PORT_NAMES: Final = frozenset({"", "h2c", "http1"})
_HIGHEST_PORT: Final = 65_535
_FIELDS: Final = frozenset(
    [
        "name",
        "image",
        "command",
        "args",
        "env",
        "envFrom",
        "imagePullPolicy",
        "livenessProbe",
        "ports",
        "readinessProbe",
        "resources",
        "securityContext",
        "startupProbe",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "volumeMounts",
        "workingDir",
    ]
)
_SECURITY_FIELDS: Final = frozenset(
    [
        "allowPrivilegeEscalation",
        "capabilities",
        "readOnlyRootFilesystem",
        "runAsGroup",
        "runAsNonRoot",
        "runAsUser",
        "seccompProfile",
    ]
)
_VALUE_FIELDS: Final = frozenset({"secretKeyRef", "configMapKeyRef"})


@dataclass(frozen=True, slots=True)
class Scope:
    """What a rule has to know besides its container."""

    config: ClusterConfig
    volumes: Mapping[str, Mapping[str, Any]]
    serving: bool = True
    """Is this the container that calls go to; a sidecar otherwise."""


Container: TypeAlias = Mapping[str, Any]
ContainerRule: TypeAlias = Callable[[Container, Scope], Findings]


def each(field: str, items: Iterable[Any], rule: Callable[[Any], Findings]) -> Findings:
    """Apply a rule to every item of a list field, with its index in the path."""
    for index, item in enumerate(items):
        yield from under(f"{field}[{index}]", rule(item))


def known_fields(container: Container, scope: Scope) -> Findings:
    """Kubernetes has more fields than a Knative container may use."""
    del scope
    if extra := sorted(container.keys() - _FIELDS):
        yield disallowed(*extra)


def free_name(container: Container, scope: Scope) -> Findings:
    """`queue-proxy` is Knative's sidecar."""
    del scope
    if container.get("name") == "queue-proxy":
        yield Finding('"queue-proxy" is a reserved container name', ("name",))


def image_given(container: Container, scope: Scope) -> Findings:
    """Every container names its image, on the laptop too: the same manifest goes to a cluster."""
    del scope
    if not (image := container.get("image")):
        yield missing("image")
    elif not is_image_reference(image):
        yield Finding("Failed to parse image reference", ("image",), f'image: "{image}"')


def free_environment(container: Container, scope: Scope) -> Findings:
    """Variables have names, and those that Knative sets itself are not set twice."""
    reserved = RESERVED_ENV if scope.serving else RESERVED_ENV - {"PORT"}

    def one(variable: Mapping[str, Any]) -> Findings:
        name = variable.get("name", "")
        if not name:
            yield missing("name")
        elif name in reserved:
            yield Finding(f'"{name}" is a reserved environment variable', ("name",))

    yield from each("env", container.get("env", ()), one)


def environment_sources(container: Container, scope: Scope) -> Findings:
    """Values come from Secrets and ConfigMaps; from the pod's own fields only with a feature switched on."""
    if scope.config.has("kubernetes.podspec-fieldref"):
        return

    def one(variable: Mapping[str, Any]) -> Findings:
        if extra := sorted(variable.get("valueFrom", {}).keys() - _VALUE_FIELDS):
            yield from under("valueFrom", [disallowed(*extra)])

    yield from each("env", container.get("env", ()), one)


def environment_from(container: Container, scope: Scope) -> Findings:
    """`envFrom` takes one Secret or one ConfigMap at a time."""
    del scope

    def one(source: Mapping[str, Any]) -> Findings:
        both = ("configMapRef", "secretRef")
        count = len([field for field in both if field in source])
        if count != 1:
            yield (multiple_one_of if count else missing_one_of)(*both)

    yield from each("envFrom", container.get("envFrom", ()), one)


def free_port(container: Container, scope: Scope) -> Findings:
    """The port is a port, and not one of queue-proxy's."""
    del scope
    for port in container.get("ports", ())[:1]:
        number = port.get("containerPort", 0)
        if number in RESERVED_PORTS:
            text = f"{number} is a reserved port"
            yield from under("ports", [invalid(text, "containerPort", f"{text}, please use a different value")])
        if not 0 <= number <= _HIGHEST_PORT:
            yield from under("ports", [out_of_bounds(number, 0, _HIGHEST_PORT, "containerPort")])


def port_protocol(container: Container, scope: Scope) -> Findings:
    """The port's name says the protocol, and only HTTP over TCP exists."""
    del scope
    for port in container.get("ports", ())[:1]:
        name, protocol = port.get("name", ""), port.get("protocol", "TCP")
        if protocol not in ("", "TCP"):
            yield from under("ports", [invalid(protocol, "protocol")])
        if name not in PORT_NAMES:
            details = "Name must be empty, or one of: 'h2c', 'http1'"
            yield Finding(f"Port name {name} is not allowed", ("ports",), details)


def resource_fields(container: Container, scope: Scope) -> Findings:
    """Requests and limits; claims (dynamic resource allocation) are not carried by Knative."""
    del scope
    if extra := sorted(container.get("resources", {}).keys() - {"limits", "requests"}):
        yield from under("resources", [disallowed(*extra)])


def security_fields(container: Container, scope: Scope) -> Findings:
    """A container may give privileges up, not take them."""
    security = container.get("securityContext", {})
    if extra := sorted(security.keys() - _SECURITY_FIELDS):
        yield from under("securityContext", [disallowed(*extra)])
    if "add" in security.get("capabilities", {}) and not scope.config.has("kubernetes.containerspec-addcapabilities"):
        yield from under("securityContext.capabilities", [disallowed("add")])


def security_ids(container: Container, scope: Scope) -> Findings:
    """User and group are ids that Linux can have."""
    del scope
    security = container.get("securityContext", {})
    for field in ("runAsUser", "runAsGroup"):
        if not 0 <= security.get(field, 0) <= INT32_MAX:
            yield from under("securityContext", [out_of_bounds(security[field], 0, INT32_MAX, field)])


def termination_message(container: Container, scope: Scope) -> Findings:
    """Where the last words come from: a file, or the log after an error."""
    del scope
    policy = container.get("terminationMessagePolicy", "")
    if policy not in ("", "File", "FallbackToLogsOnError"):
        yield invalid(policy, "terminationMessagePolicy")


def mounted_volumes(container: Container, scope: Scope) -> Findings:
    """Every mount names a volume of the pod."""

    def one(mount: Mapping[str, Any]) -> Findings:
        if mount.get("name") not in scope.volumes:
            yield Finding("volumeMount has no matching volume", ("name",))

    yield from each("volumeMounts", container.get("volumeMounts", ()), one)


def mount_paths(container: Container, scope: Scope) -> Findings:
    """A mount has an absolute path of its own, outside what the runtime needs."""
    del scope
    seen: set[str] = set()

    def one(mount: Mapping[str, Any]) -> Findings:
        given = mount.get("mountPath", "")
        path = posixpath.normpath(given)
        if not given:
            yield missing("mountPath")
        elif path in RESERVED_PATHS:
            yield Finding(f'mountPath "{path}" is a reserved path', ("mountPath",))
        elif not given.startswith("/"):
            yield invalid(given, "mountPath")
        elif path in seen:
            yield invalid(f'"{given}" must be unique', "mountPath")
        seen.add(path)

    yield from each("volumeMounts", container.get("volumeMounts", ()), one)


def mount_fields(container: Container, scope: Scope) -> Findings:
    """`subPathExpr` is not carried, and propagation needs a feature."""
    forbidden = {"subPathExpr"}
    if not scope.config.has("kubernetes.podspec-volumes-mount-propagation"):
        forbidden.add("mountPropagation")

    def one(mount: Mapping[str, Any]) -> Findings:
        if extra := sorted(mount.keys() & forbidden):
            yield disallowed(*extra)

    yield from each("volumeMounts", container.get("volumeMounts", ()), one)


def read_only_claims(container: Container, scope: Scope) -> Findings:
    """A claim that is read-only is mounted read-only."""

    def one(mount: Mapping[str, Any]) -> Findings:
        claim = scope.volumes.get(mount.get("name", ""), {}).get("persistentVolumeClaim", {})
        if claim.get("readOnly") and not mount.get("readOnly"):
            yield Finding("volume is readOnly but volume mount is not", ("readOnly",))

    yield from each("volumeMounts", container.get("volumeMounts", ()), one)


CONTAINER_RULES: Final[tuple[ContainerRule, ...]] = (
    known_fields,
    free_name,
    image_given,
    free_environment,
    environment_sources,
    environment_from,
    free_port,
    port_protocol,
    resource_fields,
    security_fields,
    security_ids,
    termination_message,
    mounted_volumes,
    mount_paths,
    mount_fields,
    read_only_claims,
)
