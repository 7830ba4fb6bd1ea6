"""The kinds of object that the laptop runtime keeps, and how the Kubernetes API names each of them.

Read by the store, the API and every reconciler: they pass `Kind` values around, never strings. Names, short names and
categories are those of Kubernetes 1.37, Knative Serving and Eventing 1.23 and the Gateway API's CRDs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Object = dict[str, Any]
"""A Kubernetes object as decoded JSON: apiVersion, kind, metadata, and what the kind adds."""


@dataclass(frozen=True, slots=True)
class Printed:
    """One of a CustomResourceDefinition's `additionalPrinterColumns`."""

    name: str
    json_path: str
    type: str = "string"
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object: `Kind("serving.knative.dev", "v1", "Service", "services")`.

    Two are equal when they have the same name: a definition that changes does not make another kind of its objects.
    """

    group: str
    version: str
    kind: str
    plural: str
    short_names: tuple[str, ...] = field(default=(), compare=False)
    namespaced: bool = field(default=True, compare=False)
    has_status: bool = field(default=True, compare=False)
    categories: tuple[str, ...] = field(default=(), compare=False)
    schema: Mapping[str, Any] | None = field(default=None, compare=False)
    """Of a defined kind: its `openAPIV3Schema`. The built-in kinds are known to `admission`."""
    columns: tuple[Printed, ...] = field(default=(), compare=False)
    """Of a defined kind: what `kubectl get` prints beside the name."""

    @property
    def api_version(self) -> str:
        """`v1` for the core group, else `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def key(self) -> str:
        """What the store files objects under; the version is left out, since each kind has one here."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def singular(self) -> str:
        """The name that kubectl prints before an object's name."""
        return self.kind.lower()


def _serving(kind: str, plural: str, *short: str) -> Kind:
    return Kind("serving.knative.dev", "v1", kind, plural, short, categories=("all", "knative", "serving"))


def _eventing(kind: str, plural: str) -> Kind:
    return Kind("eventing.knative.dev", "v1", kind, plural, categories=("all", "knative", "eventing"))


def _source(kind: str, plural: str) -> Kind:
    return Kind("sources.knative.dev", "v1", kind, plural, categories=("all", "knative", "sources"))


def _rbac(kind: str, plural: str, *, namespaced: bool) -> Kind:
    return Kind("rbac.authorization.k8s.io", "v1", kind, plural, namespaced=namespaced, has_status=False)


NAMESPACE: Final = Kind("", "v1", "Namespace", "namespaces", ("ns",), namespaced=False)
CONFIG_MAP: Final = Kind("", "v1", "ConfigMap", "configmaps", ("cm",), has_status=False)
SECRET: Final = Kind("", "v1", "Secret", "secrets", has_status=False)
SERVICE_ACCOUNT: Final = Kind("", "v1", "ServiceAccount", "serviceaccounts", ("sa",), has_status=False)
CORE_SERVICE: Final = Kind("", "v1", "Service", "services", ("svc",), categories=("all",))
POD: Final = Kind("", "v1", "Pod", "pods", ("po",), categories=("all",))
EVENT: Final = Kind("", "v1", "Event", "events", ("ev",), has_status=False)
JOB: Final = Kind("batch", "v1", "Job", "jobs", categories=("all",))
SERVICE: Final = _serving("Service", "services", "kservice", "ksvc")
CONFIGURATION: Final = _serving("Configuration", "configurations", "config", "cfg")
REVISION: Final = _serving("Revision", "revisions", "rev")
ROUTE: Final = _serving("Route", "routes", "rt")
BROKER: Final = _eventing("Broker", "brokers")
TRIGGER: Final = _eventing("Trigger", "triggers")
PING_SOURCE: Final = _source("PingSource", "pingsources")
API_SERVER_SOURCE: Final = _source("ApiServerSource", "apiserversources")
HTTP_ROUTE: Final = Kind("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes", categories=("gateway-api",))
GATEWAY: Final = Kind("gateway.networking.k8s.io", "v1", "Gateway", "gateways", ("gtw",), categories=("gateway-api",))
CUSTOM_RESOURCE_DEFINITION: Final = Kind(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    ("crd", "crds"),
    namespaced=False,
)

BUILT_IN: Final[Sequence[Kind]] = (
    NAMESPACE,
    CONFIG_MAP,
    SECRET,
    SERVICE_ACCOUNT,
    CORE_SERVICE,
    POD,
    EVENT,
    JOB,
    SERVICE,
    CONFIGURATION,
    REVISION,
    ROUTE,
    BROKER,
    TRIGGER,
    PING_SOURCE,
    API_SERVER_SOURCE,
    Kind("eventing.knative.dev", "v1beta2", "EventType", "eventtypes", categories=("all", "knative", "eventing")),
    HTTP_ROUTE,
    GATEWAY,
    Kind("gateway.networking.k8s.io", "v1", "GatewayClass", "gatewayclasses", ("gc",), namespaced=False),
    Kind("gateway.networking.k8s.io", "v1beta1", "ReferenceGrant", "referencegrants", ("refgrant",), has_status=False),
    _rbac("Role", "roles", namespaced=True),
    _rbac("RoleBinding", "rolebindings", namespaced=True),
    _rbac("ClusterRole", "clusterroles", namespaced=False),
    _rbac("ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    CUSTOM_RESOURCE_DEFINITION,
)

_BY_NAME: Final = {(kind.api_version, kind.kind): kind for kind in BUILT_IN}


class UnknownKind(LookupError):
    """No object of this kind is kept here."""


def kind_of(obj: Mapping[str, Any], also: Sequence[Kind] = ()) -> Kind:
    """The kind of an object by its apiVersion and kind; `also` are kinds that CRDs added. Raises UnknownKind."""
    name = (obj.get("apiVersion", ""), obj.get("kind", ""))
    found = _BY_NAME.get(name) or next((kind for kind in also if (kind.api_version, kind.kind) == name), None)
    if found is None:
        raise UnknownKind(f'no matches for kind "{name[1]}" in version "{name[0]}"')
    return found


def defined_by(crd: Mapping[str, Any]) -> Kind:
    """The kind that a CustomResourceDefinition adds: its storage version."""
    spec = crd["spec"]
    names = spec["names"]
    version = next(each for each in spec["versions"] if each.get("storage"))
    return Kind(
        spec["group"],
        version["name"],
        names["kind"],
        names["plural"],
        tuple(names.get("shortNames", ())),
        namespaced=spec.get("scope", "Namespaced") == "Namespaced",
        has_status="status" in version.get("subresources", {}),
        categories=tuple(names.get("categories", ())),
        schema=version["schema"]["openAPIV3Schema"],
        columns=tuple(
            Printed(each["name"], each["jsonPath"], each["type"], each.get("priority", 0))
            for each in version.get("additionalPrinterColumns", _AGE)
        ),
    )


# What is printed for a definition that names no columns.
_AGE: Final = ({"name": "Age", "jsonPath": ".metadata.creationTimestamp", "type": "date"},)
