"""Which field of which kind the laptop runtime honours: the table behind `supported.check` and docs/supported.md.

A manifest field that is not here is refused by name. Paths: `[]` is every item of a list, `{key}` one key of a map.
Types are those of the Kubernetes API; `@path` is the shape found at another path of the same kind. The file is long because
it is that table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from kn_model.local.objects import kinds
from kn_model.local.objects.kinds import Kind


class Honour(Enum):
    """How far a field does here what it does on a cluster."""

    FULL = "honoured"
    PART = "in part"
    NONE = "ignored"
    REFUSED = "refused"
    """Listed because admission judges it before anybody learns that it is refused: its shape has to be known."""


@dataclass(frozen=True, slots=True)
class Field:
    """One leaf field. `note` says what differs, or why it may be ignored."""

    path: str
    type: str = "string"
    honour: Honour = Honour.FULL
    note: str = ""
    only: tuple[str, ...] = ()
    """The only values that are supported, as text; empty is all."""
    at_most: int = 0
    """For a list: how many items are supported; 0 is any number."""
    required: bool = False
    """Must be there on the laptop, though a cluster does not ask for it."""


def _ignored(path: str, note: str, kind: str = "string") -> Field:
    return Field(path, kind, Honour.NONE, note)


def _part(path: str, note: str, kind: str = "string", only: tuple[str, ...] = ()) -> Field:
    return Field(path, kind, Honour.PART, note, only)


def _refused(path: str, note: str, kind: str) -> Field:
    return Field(path, kind, Honour.REFUSED, note)


def _under(prefix: str, fields: Sequence[Field]) -> tuple[Field, ...]:
    return tuple(replace(field, path=f"{prefix}.{field.path}") for field in fields)


_OWN_PROCESS: Final = "instances are processes of the user who started the runtime"
_TOKENS: Final = "every instance gets its account's token, which opens nothing but this runtime's API"
_NO_SIDECAR: Final = "no queue-proxy runs here"
_NO_GATEWAY: Final = "the front door of the runtime is the only gateway"

METADATA: Final = (
    Field("apiVersion"),
    Field("kind"),
    Field("metadata.name"),
    Field("metadata.namespace"),
    Field("metadata.generateName"),
    Field("metadata.labels", "map"),
    Field("metadata.annotations", "map"),
    Field("metadata.uid"),
    Field("metadata.resourceVersion"),
    Field("metadata.generation", "integer"),
    Field("metadata.creationTimestamp"),
    Field("metadata.ownerReferences", "any"),
    _ignored("metadata.finalizers", "an object is gone when it is deleted", "any"),
    _ignored("metadata.managedFields", "nobody competes for fields on one machine", "any"),
    _ignored("metadata.selfLink", "has had no meaning since Kubernetes 1.20"),
    _ignored("metadata.deletionTimestamp", "an object is gone when it is deleted"),
    _ignored("metadata.deletionGracePeriodSeconds", "an object is gone when it is deleted", "integer"),
    Field("status", "any"),
)

_PROBE: Final = (
    Field("httpGet.path"),
    _ignored("httpGet.port", "the runtime picks the port and tells it as PORT", "port"),
    _ignored("httpGet.scheme", "plain HTTP on loopback"),
    Field("httpGet.httpHeaders[].name"),
    Field("httpGet.httpHeaders[].value"),
    _ignored("tcpSocket.port", "the runtime picks the port and tells it as PORT", "port"),
    _ignored("tcpSocket.host", "instances listen on loopback"),
    Field("initialDelaySeconds", "integer"),
    _part(
        "periodSeconds",
        "0 asks every 20 ms with 1 s for an answer, where Knative asks every 50 ms with 100 ms",
        "integer",
    ),
    Field("timeoutSeconds", "integer"),
    Field("failureThreshold", "integer"),
    _part("successThreshold", "one success is enough", "integer", only=("1",)),
)

_ENVIRONMENT: Final = (
    Field("env[].name"),
    _part("env[].value", "addresses of cluster services and mount paths in it are changed to those of this machine"),
    Field("env[].valueFrom.secretKeyRef.name"),
    Field("env[].valueFrom.secretKeyRef.key"),
    Field("env[].valueFrom.secretKeyRef.optional", "boolean"),
    Field("env[].valueFrom.configMapKeyRef.name"),
    Field("env[].valueFrom.configMapKeyRef.key"),
    Field("env[].valueFrom.configMapKeyRef.optional", "boolean"),
    Field("envFrom[].prefix"),
    Field("envFrom[].secretRef.name"),
    Field("envFrom[].secretRef.optional", "boolean"),
    Field("envFrom[].configMapRef.name"),
    Field("envFrom[].configMapRef.optional", "boolean"),
)

_SECURITY: Final = (
    _ignored("runAsNonRoot", _OWN_PROCESS, "boolean"),
    _ignored("runAsUser", _OWN_PROCESS, "integer"),
    _ignored("runAsGroup", _OWN_PROCESS, "integer"),
    _ignored("allowPrivilegeEscalation", _OWN_PROCESS, "boolean"),
    _ignored("readOnlyRootFilesystem", _OWN_PROCESS, "boolean"),
    _ignored("capabilities.drop", _OWN_PROCESS, "strings"),
    _ignored("seccompProfile.type", _OWN_PROCESS),
)

CONTAINER: Final = (
    Field("name"),
    _ignored("image", "there are no containers here: `command` is started from the clone"),
    _ignored("imagePullPolicy", "nothing is pulled"),
    Field("command", "strings", note="needed, because there is no image to hold one", required=True),
    Field("args", "strings"),
    _part("workingDir", "when that folder exists here, else the clone"),
    *_ENVIRONMENT,
    _ignored("ports[].containerPort", "the runtime picks the port and tells it as PORT", "integer"),
    _part("ports[].name", "HTTP/1.1", only=("http1", "")),
    Field("ports[].protocol", only=("TCP", "")),
    _ignored("resources.requests", "one machine: nothing is scheduled", "quantities"),
    _part(
        "resources.limits",
        "memory: whoever holds more is stopped; nvidia.com/gpu: has to be there and free; cpu: ignored",
        "quantities",
    ),
    *_under("readinessProbe", _PROBE),
    *_under("startupProbe", _PROBE),
    *_under("livenessProbe", _PROBE),
    *_under("securityContext", _SECURITY),
    _ignored("terminationMessagePath", "the last words are in the log"),
    _ignored("terminationMessagePolicy", "the last words are in the log"),
    Field("volumeMounts[].name"),
    _part("volumeMounts[].mountPath", "a folder of this machine; the path is changed in env and args"),
    Field("volumeMounts[].subPath"),
    _ignored("volumeMounts[].readOnly", "the folder belongs to the instance", "boolean"),
)

_VOLUMES: Final = (
    Field("volumes[].name"),
    _ignored("volumes[].emptyDir.medium", "a folder on disk"),
    _ignored("volumes[].emptyDir.sizeLimit", "a folder on disk", "quantity"),
    Field("volumes[].secret.secretName"),
    Field("volumes[].secret.optional", "boolean"),
    Field("volumes[].secret.items[].key"),
    Field("volumes[].secret.items[].path"),
    _ignored("volumes[].secret.defaultMode", "readable by the user who runs the runtime", "integer"),
    Field("volumes[].configMap.name"),
    Field("volumes[].configMap.optional", "boolean"),
    Field("volumes[].configMap.items[].key"),
    Field("volumes[].configMap.items[].path"),
    _ignored("volumes[].configMap.defaultMode", "readable by the user who runs the runtime", "integer"),
)

POD: Final = (
    Field("containers", "list", note="one container", at_most=1),
    *_under("containers[]", CONTAINER),
    _refused("initContainers", "one process is what an instance is", "list"),
    *_under("initContainers[]", CONTAINER),
    *_VOLUMES,
    _refused("volumes[].persistentVolumeClaim", "no volumes outlive an instance", "object"),
    Field("volumes[].persistentVolumeClaim.claimName"),
    Field("volumes[].persistentVolumeClaim.readOnly", "boolean"),
    Field("serviceAccountName"),
    _ignored("automountServiceAccountToken", _TOKENS, "boolean"),
    _ignored("enableServiceLinks", "no variables for other services are set", "boolean"),
    _ignored("imagePullSecrets[].name", "nothing is pulled"),
    _ignored("nodeSelector", "one machine: nothing is scheduled", "map"),
    _ignored("tolerations", "one machine: nothing is scheduled", "any"),
    _ignored("runtimeClassName", "there are no containers here"),
)

REVISION: Final = (
    *POD,
    Field("containerConcurrency", "integer"),
    Field("timeoutSeconds", "integer"),
    _part(
        "responseStartTimeoutSeconds",
        "who is held for all of it gets 503 with Retry-After and the phase, where Knative says 504",
        "integer",
    ),
    Field("idleTimeoutSeconds", "integer"),
)


def _annotations(prefix: str, fields: Sequence[Field]) -> tuple[Field, ...]:
    return tuple(replace(field, path=f"{prefix}{{{field.path}}}") for field in fields)


SCALING: Final = (
    Field("autoscaling.knative.dev/class", only=("kpa.autoscaling.knative.dev",)),
    Field("autoscaling.knative.dev/metric", only=("concurrency",)),
    Field("autoscaling.knative.dev/min-scale"),
    Field("autoscaling.knative.dev/max-scale"),
    Field("autoscaling.knative.dev/initial-scale"),
    Field("autoscaling.knative.dev/target"),
    Field("autoscaling.knative.dev/target-utilization-percentage"),
    Field("autoscaling.knative.dev/window"),
    Field("autoscaling.knative.dev/scale-down-delay"),
    Field("autoscaling.knative.dev/scale-to-zero-pod-retention-period"),
    _ignored(
        "autoscaling.knative.dev/target-burst-capacity", "the front door always holds calls that nothing can take"
    ),
    Field("serving.knative.dev/progress-deadline"),
    _ignored("queue.sidecar.serving.knative.dev/cpu-resource-request", _NO_SIDECAR),
    _ignored("queue.sidecar.serving.knative.dev/cpu-resource-limit", _NO_SIDECAR),
    _ignored("queue.sidecar.serving.knative.dev/memory-resource-request", _NO_SIDECAR),
    _ignored("queue.sidecar.serving.knative.dev/memory-resource-limit", _NO_SIDECAR),
)
# Written by the controllers of Serving, and by this runtime in their place.
_BY_CONTROLLERS: Final = (
    Field("serving.knative.dev/creator"),
    Field("serving.knative.dev/lastModifier"),
    Field("serving.knative.dev/routes"),
    Field("serving.knative.dev/routingStateModified"),
    Field("serving.knative.dev/no-gc"),
)
_LABELS_BY_CONTROLLERS: Final = (
    Field("serving.knative.dev/service"),
    Field("serving.knative.dev/serviceUID"),
    Field("serving.knative.dev/configuration"),
    Field("serving.knative.dev/configurationUID"),
    Field("serving.knative.dev/configurationGeneration"),
    Field("serving.knative.dev/route"),
    Field("serving.knative.dev/revision"),
    Field("serving.knative.dev/revisionUID"),
    Field("serving.knative.dev/routingState"),
)
_VISIBILITY: Final = _part(
    "networking.knative.dev/visibility",
    "every service can be reached on loopback alone",
    only=("cluster-local",),
)
_SERVING_METADATA: Final = (
    *_annotations("metadata.annotations", _BY_CONTROLLERS),
    *_annotations("metadata.labels", (_VISIBILITY, *_LABELS_BY_CONTROLLERS)),
)
_TEMPLATE: Final = (
    Field("spec.template.metadata.name"),
    _ignored("spec.template.metadata.creationTimestamp", "a template is not created"),
    Field("spec.template.metadata.labels", "map"),
    *_annotations("spec.template.metadata.annotations", SCALING),
    *_under("spec.template.spec", REVISION),
)
_TRAFFIC: Final = (
    Field("spec.traffic[].revisionName"),
    Field("spec.traffic[].latestRevision", "boolean"),
    Field("spec.traffic[].percent", "integer"),
    Field("spec.traffic[].tag"),
)

_REFERENCE: Final = (
    Field("ref.apiVersion"),
    Field("ref.kind", only=("Service", "Broker")),
    Field("ref.name"),
    Field("ref.namespace"),
    Field("uri"),
)
_DELIVERY: Final = (
    Field(
        "spec.delivery.retry",
        "integer",
        note="a 429 or 503 is tried again when its Retry-After says, within 300 s; a cluster does so with `retryAfterMax`",
    ),
    Field("spec.delivery.backoffPolicy"),
    Field("spec.delivery.backoffDelay"),
    Field("spec.delivery.timeout"),
    *_under("spec.delivery.deadLetterSink", _REFERENCE),
)
_ONE_BROKER: Final = "the one broker of this runtime keeps events in PostgreSQL"
_FILTERS: Final = (
    Field("spec.filter.attributes", "map"),
    Field("spec.filters[].exact", "map"),
    Field("spec.filters[].prefix", "map"),
    Field("spec.filters[].suffix", "map"),
    Field("spec.filters[].all", "@spec.filters"),
    Field("spec.filters[].any", "@spec.filters"),
    Field("spec.filters[].not", "@spec.filters[]"),
    _refused("spec.filters[].cesql", "no maintained CESQL parser exists for Python; use the other dialects", "string"),
)
_SOURCE: Final = (*_under("spec.sink", _REFERENCE), Field("spec.ceOverrides.extensions", "map"))
_BY_SELECTOR: Final = (
    Field("matchLabels", "map"),
    Field("matchExpressions[].key"),
    Field("matchExpressions[].operator"),
    Field("matchExpressions[].values", "strings"),
)
_NOT_ENFORCED: Final = "whoever holds a token of this runtime may use its whole API"

_HTTP_ROUTE: Final = (
    _ignored("spec.parentRefs", _NO_GATEWAY, "any"),
    Field("spec.hostnames", "strings"),
    _ignored("spec.rules[].name", "a name for people"),
    Field("spec.rules[].matches[].path.type", only=("PathPrefix", "Exact", "RegularExpression")),
    Field("spec.rules[].matches[].path.value"),
    Field("spec.rules[].matches[].method"),
    Field("spec.rules[].matches[].headers[].type", only=("Exact",)),
    Field("spec.rules[].matches[].headers[].name"),
    Field("spec.rules[].matches[].headers[].value"),
    Field("spec.rules[].filters[].type", only=("URLRewrite",)),
    Field("spec.rules[].filters[].urlRewrite.hostname", note="says which service is meant"),
    Field("spec.rules[].filters[].urlRewrite.path.type", only=("ReplacePrefixMatch", "ReplaceFullPath")),
    Field("spec.rules[].filters[].urlRewrite.path.replacePrefixMatch"),
    Field("spec.rules[].filters[].urlRewrite.path.replaceFullPath"),
    _part("spec.rules[].backendRefs", "only where no host name is rewritten, else that says which service", "any"),
    _ignored("spec.rules[].timeouts", "the service's own timeouts hold", "any"),
)

FIELDS: Final[Mapping[Kind, Sequence[Field]]] = {
    kinds.SERVICE: (*_SERVING_METADATA, *_TEMPLATE, *_TRAFFIC),
    kinds.CONFIGURATION: (*_SERVING_METADATA, *_TEMPLATE),
    kinds.REVISION: (
        *_SERVING_METADATA,
        *_annotations("metadata.annotations", SCALING),
        *_under("spec", REVISION),
    ),
    kinds.ROUTE: (*_SERVING_METADATA, *_TRAFFIC, Field("spec.traffic[].configurationName")),
    kinds.BROKER: (
        Field("metadata.annotations{eventing.knative.dev/broker.class}", only=("MTChannelBasedBroker",)),
        _part(
            "metadata.annotations{messaging.knative.dev/async-handler}",
            "an accepted event is durable before the answer, whatever it says",
        ),
        _ignored("spec.config.apiVersion", _ONE_BROKER),
        _ignored("spec.config.kind", _ONE_BROKER),
        _ignored("spec.config.name", _ONE_BROKER),
        _ignored("spec.config.namespace", _ONE_BROKER),
        *_DELIVERY,
    ),
    kinds.TRIGGER: (
        Field("metadata.labels{eventing.knative.dev/broker}"),
        Field("spec.broker"),
        *_FILTERS,
        *_under("spec.subscriber", _REFERENCE),
        *_DELIVERY,
    ),
    kinds.PING_SOURCE: (
        Field("spec.schedule"),
        Field("spec.timezone"),
        Field("spec.contentType"),
        Field("spec.data"),
        Field("spec.dataBase64"),
        *_SOURCE,
    ),
    kinds.API_SERVER_SOURCE: (
        Field("spec.mode"),
        Field("spec.resources[].apiVersion"),
        Field("spec.resources[].kind"),
        *_under("spec.resources[].selector", _BY_SELECTOR),
        _ignored("spec.serviceAccountName", "the source is part of the runtime"),
        *_SOURCE,
    ),
    kinds.HTTP_ROUTE: _HTTP_ROUTE,
    kinds.GATEWAY: (_ignored("spec", _NO_GATEWAY, "any"),),
    kinds.JOB: (
        Field("spec.backoffLimit", "integer"),
        Field("spec.activeDeadlineSeconds", "integer"),
        _ignored(
            "spec.ttlSecondsAfterFinished", "a finished Job stays; it runs again when its manifest changes", "integer"
        ),
        _ignored("spec.template.metadata", "no pod carries it", "any"),
        _ignored("spec.template.spec.restartPolicy", "every try is a new process"),
        *_under("spec.template.spec", POD),
    ),
    kinds.CUSTOM_RESOURCE_DEFINITION: (
        Field("spec.group"),
        Field("spec.names.kind"),
        _ignored("spec.names.listKind", "always the kind's name and `List`"),
        Field("spec.names.plural"),
        _ignored("spec.names.singular", "always the kind's name in lower case"),
        Field("spec.names.shortNames", "strings"),
        Field("spec.names.categories", "strings"),
        Field("spec.scope"),
        _ignored("spec.preserveUnknownFields", "fields that the schema does not know are dropped", "boolean"),
        Field("spec.conversion.strategy", only=("None",)),
        Field("spec.versions", "list", note="one version, served and stored", at_most=1),
        Field("spec.versions[].name"),
        Field("spec.versions[].served", "boolean"),
        Field("spec.versions[].storage", "boolean"),
        Field(
            "spec.versions[].schema.openAPIV3Schema",
            "any",
            note="prunes, fills in defaults and validates; `x-kubernetes-validations` (CEL) is refused",
        ),
        Field("spec.versions[].subresources.status", "any"),
        Field("spec.versions[].additionalPrinterColumns[].name"),
        Field("spec.versions[].additionalPrinterColumns[].type"),
        Field(
            "spec.versions[].additionalPrinterColumns[].jsonPath",
            note='names, indexes and `[?(@.type=="Ready")]`; any other form is refused',
        ),
        Field("spec.versions[].additionalPrinterColumns[].priority", "integer"),
        _ignored("spec.versions[].additionalPrinterColumns[].description", "for people"),
        _ignored("spec.versions[].additionalPrinterColumns[].format", "kubectl prints it as text"),
    ),
    kinds.NAMESPACE: (_ignored("spec", "a namespace has no settings here", "any"),),
    kinds.CONFIG_MAP: (
        Field("data", "map"),
        Field("binaryData", "map"),
        _ignored("immutable", "a ConfigMap can always be changed", "boolean"),
    ),
    kinds.SECRET: (
        Field("data", "map"),
        Field("stringData", "map"),
        Field("type"),
        _ignored("immutable", "a Secret can always be changed", "boolean"),
    ),
    kinds.SERVICE_ACCOUNT: (
        _ignored("automountServiceAccountToken", _TOKENS, "boolean"),
        _ignored("imagePullSecrets", "nothing is pulled", "any"),
        _ignored("secrets", "tokens are given to instances directly", "any"),
    ),
}

# Fields that a cluster's schemas have and this table does not: an API server keeps them, and the webhooks judge them.
# Anything else it drops before anybody sees it, unless the client asks for strict validation.
_OF_PODS_ELSEWHERE: Final = (
    "affinity",
    "dnsConfig",
    "dnsPolicy",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "priorityClassName",
    "schedulerName",
    "securityContext",
    "shareProcessNamespace",
    "topologySpreadConstraints",
    "containers[].env[].valueFrom.fieldRef",
    "containers[].env[].valueFrom.resourceFieldRef",
    *(
        f"containers[].{probe}.{field}"
        for probe in ("livenessProbe", "readinessProbe", "startupProbe")
        for field in ("exec", "grpc", "httpGet.host")
    ),
    "containers[].securityContext.capabilities.add",
    "containers[].securityContext.privileged",
    "containers[].securityContext.seccompProfile.localhostProfile",
    "containers[].volumeMounts[].mountPropagation",
    # Of any shape, there.
    "initContainers",
    "volumes[].configMap.items[].mode",
    "volumes[].csi",
    "volumes[].ephemeral",
    "volumes[].hostPath",
    "volumes[].image",
    "volumes[].projected",
    "volumes[].secret.items[].mode",
)
_SINKS_ELSEWHERE: Final = ("CACerts", "audience")
_OF_TEMPLATES_ELSEWHERE: Final = (
    "spec.template.metadata.finalizers",
    "spec.template.metadata.namespace",
    *(f"spec.template.spec.{field}" for field in _OF_PODS_ELSEWHERE),
)
ELSEWHERE: Final[Mapping[Kind, Sequence[str]]] = {
    kinds.SERVICE: (*_OF_TEMPLATES_ELSEWHERE, "spec.traffic[].configurationName", "spec.traffic[].url"),
    kinds.CONFIGURATION: _OF_TEMPLATES_ELSEWHERE,
    kinds.REVISION: tuple(f"spec.{field}" for field in _OF_PODS_ELSEWHERE),
    kinds.ROUTE: ("spec.traffic[].url",),
    kinds.BROKER: tuple(f"spec.delivery.deadLetterSink.{field}" for field in _SINKS_ELSEWHERE),
    kinds.TRIGGER: (
        "spec.brokerRef",
        "spec.delivery.format",
        *(f"spec.{sink}.{field}" for sink in ("delivery.deadLetterSink", "subscriber") for field in _SINKS_ELSEWHERE),
    ),
    kinds.PING_SOURCE: tuple(f"spec.sink.{field}" for field in _SINKS_ELSEWHERE),
    kinds.API_SERVER_SOURCE: (
        "spec.namespaceSelector",
        "spec.owner",
        *(f"spec.sink.{field}" for field in _SINKS_ELSEWHERE),
    ),
    kinds.HTTP_ROUTE: (
        *(
            f"spec.rules[].filters[].{field}"
            for field in (
                "cors",
                "extensionRef",
                "requestHeaderModifier",
                "requestMirror",
                "requestRedirect",
                "responseHeaderModifier",
            )
        ),
        "spec.rules[].matches[].queryParams",
    ),
}

# Kept so that one manifest serves both, but nothing here acts on them.
KEPT_ONLY: Final[Mapping[tuple[str, str], str]] = {
    ("rbac.authorization.k8s.io/v1", "Role"): _NOT_ENFORCED,
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): _NOT_ENFORCED,
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): _NOT_ENFORCED,
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): _NOT_ENFORCED,
    ("gateway.networking.k8s.io/v1", "GatewayClass"): _NO_GATEWAY,
    ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant"): _NO_GATEWAY,
    ("eventing.knative.dev/v1beta2", "EventType"): "a registry for people",
    ("v1", "Event"): "written by this runtime for people to see",
    ("v1", "Service"): "written by this runtime for people to see",
    ("v1", "Pod"): "written by this runtime for people to see",
}
