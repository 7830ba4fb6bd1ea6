"""What Knative's webhooks fill in before they judge: defaults of templates, traffic, brokers, triggers and sources.

Called by `admission.admit` with a copy that it may change. Sources: knative.dev/serving
`pkg/apis/serving/v1/*_defaults.go`, knative.dev/eventing `pkg/apis/{eventing,sources}/v1/*_defaults.go`.
"""

from collections.abc import Mapping
from typing import Any, Final

from kn_model.local.admission.config import ClusterConfig
from kn_model.local.admission.probe import default_handler, default_readiness
from kn_model.local.objects.kinds import Object

CREATOR: Final = "serving.knative.dev/creator"
MODIFIER: Final = "serving.knative.dev/lastModifier"
BROKER_CLASS: Final = "eventing.knative.dev/broker.class"
_DEFAULT_CLASS: Final = "MTChannelBasedBroker"
# ConfigMap config-br-defaults of a fresh installation.
_DEFAULT_BROKER_SPEC: Final[Mapping[str, Any]] = {
    "config": {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "config-br-default-channel",
        "namespace": "knative-eventing",
    },
    "delivery": {"retry": 10, "backoffPolicy": "exponential", "backoffDelay": "PT0.2S"},
}
# Volumes that a mount may write to.
_WRITABLE: Final = ("emptyDir", "persistentVolumeClaim", "ephemeral")


def default_revision_spec(spec: Object, config: ClusterConfig) -> None:
    """Timeouts, concurrency, names and probes of a revision; `spec` is a template's spec or a Revision's."""
    if not spec.get("timeoutSeconds"):
        spec["timeoutSeconds"] = config.timeout_s
    if spec["timeoutSeconds"] > config.response_start_timeout_s:
        spec.setdefault("responseStartTimeoutSeconds", config.response_start_timeout_s)
    spec.setdefault("containerConcurrency", config.container_concurrency)
    spec.setdefault("enableServiceLinks", False)
    containers = spec.get("containers", [])
    for index, container in enumerate(containers):
        alone = len(containers) == 1
        if not container.get("name"):
            container["name"] = "user-container" if alone else f"user-container-{index}"
        container.setdefault("resources", {})
        if alone or container.get("ports"):
            _default_serving(container)
        _default_mounts(container, spec)


def _default_serving(container: Object) -> None:
    for port in container.get("ports", ()):
        port.setdefault("protocol", "TCP")
    default_readiness(container)
    if "livenessProbe" in container:
        default_handler(container["livenessProbe"])


def _default_mounts(container: Object, spec: Mapping[str, Any]) -> None:
    volumes = {volume.get("name"): volume for volume in spec.get("volumes", ())}
    for mount in container.get("volumeMounts", ()):
        volume = volumes.get(mount.get("name"), {})
        if not any(source in volume for source in _WRITABLE):
            mount["readOnly"] = True


def default_traffic(spec: Object) -> None:
    """All traffic to the latest revision; an entry without a name means the latest one."""
    if not spec.get("traffic"):
        spec["traffic"] = [{"latestRevision": True, "percent": 100}]
    for target in spec["traffic"]:
        target.setdefault("latestRevision", not target.get("revisionName"))
        target.setdefault("percent", 0)


def default_service(obj: Object, config: ClusterConfig) -> None:
    """A Knative Service: its template and its traffic."""
    default_configuration(obj, config)
    default_traffic(obj["spec"])


def default_configuration(obj: Object, config: ClusterConfig) -> None:
    """A Configuration: its template."""
    default_revision_spec(obj["spec"].setdefault("template", {}).setdefault("spec", {}), config)


def default_revision(obj: Object, config: ClusterConfig) -> None:
    """A Revision, whose spec is what a template's is."""
    default_revision_spec(obj["spec"], config)


def default_route(obj: Object, config: ClusterConfig) -> None:
    """A Route of its own has to name its targets; each target gets a percentage."""
    del config
    for target in obj["spec"].get("traffic", ()):
        target.setdefault("percent", 0)
        if not target.get("configurationName"):
            target.setdefault("latestRevision", not target.get("revisionName"))


def default_broker(obj: Object, config: ClusterConfig) -> None:
    """Class, config and, only when no delivery is given at all, a delivery."""
    del config
    annotations = obj["metadata"].setdefault("annotations", {})
    annotations.setdefault(BROKER_CLASS, _DEFAULT_CLASS)
    if annotations[BROKER_CLASS] == _DEFAULT_CLASS:
        for field, value in _DEFAULT_BROKER_SPEC.items():
            obj["spec"].setdefault(field, dict(value))
    _default_sink_namespace(obj, ("delivery", "deadLetterSink"))


def default_trigger(obj: Object, config: ClusterConfig) -> None:
    """References without a namespace mean the Trigger's own, and its label says which broker it is of."""
    del config
    spec = obj["spec"]
    if spec.get("broker"):
        obj["metadata"].setdefault("labels", {})["eventing.knative.dev/broker"] = spec["broker"]
    _default_sink_namespace(obj, ("subscriber",))
    _default_sink_namespace(obj, ("delivery", "deadLetterSink"))


def default_ping_source(obj: Object, config: ClusterConfig) -> None:
    """Every minute, unless another schedule is given."""
    del config
    obj["spec"].setdefault("schedule", "* * * * *")
    _default_sink_namespace(obj, ("sink",))


def default_api_server_source(obj: Object, config: ClusterConfig) -> None:
    """References instead of objects, as the namespace's default account."""
    del config
    obj["spec"].setdefault("mode", "Reference")
    obj["spec"].setdefault("serviceAccountName", "default")
    _default_sink_namespace(obj, ("sink",))


def record_user(obj: Object, old: Object | None, user: str) -> None:
    """Who created a Serving object and who changed its spec last, as annotations; `kn` shows them."""
    annotations = obj["metadata"].setdefault("annotations", {})
    if old is None:
        annotations |= {CREATOR: user, MODIFIER: user}
    elif old.get("spec") != obj.get("spec"):
        annotations[MODIFIER] = user


def _default_sink_namespace(obj: Object, path: tuple[str, ...]) -> None:
    value: Any = obj["spec"]
    for part in (*path, "ref"):
        value = value.get(part)
        if not value:
            return
    if "namespace" in obj["metadata"]:
        value.setdefault("namespace", obj["metadata"]["namespace"])
