"""The Knative Service and the HTTPRoute of a server, as Kubernetes objects. Pure.

Called by the handler of `server.requested`. Every field passes the webhook of Knative Serving 1.23 without a feature
flag (docs/supported.md lists the same fields for the laptop, which runs `command` and ignores `image`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from functions.serve import limits
from functions.serve.planning import Plan
from functions.serve.settings import Settings

Manifest = dict[str, Any]

MODEL_LABEL: Final = "torpor.dev/model"
SERVER_LABEL: Final = "torpor.dev/server"
# On the template of a revision that is on trial: how it is found, whatever its name.
ROLLOUT_LABEL: Final = "torpor.dev/rollout"
PORT: Final = 8080
# What follows the latest revision, as soon as it is ready.
LATEST: Final = ({"latestRevision": True, "percent": 100},)
# Config, tokenizer and caches of the engine; weights never touch the disk.
SCRATCH_LIMIT: Final = "2Gi"
# PyTorch's processes exchange tensors there; the default of 64 MiB is what kills them.
SHARED_MEMORY_LIMIT: Final = "1Gi"
# Variable -> (Secret, key) of what an engine is trusted with.
_SECRETS: Final = {
    "TORPOR_S3_ENDPOINT": ("torpor-s3", "endpoint"),
    "TORPOR_S3_REGION": ("torpor-s3", "region"),
    "TORPOR_S3_BUCKET": ("torpor-s3", "bucket"),
    "TORPOR_S3_ACCESS_KEY": ("torpor-s3", "access-key"),
    "TORPOR_S3_SECRET_KEY": ("torpor-s3", "secret-key"),
    "TORPOR_ENGINE_EVENT_KEY": ("torpor-events", "engines"),
}


@dataclass(frozen=True, slots=True)
class Server:
    """What identifies a server: its record's uuid, its name, and its model."""

    uuid: str
    name: str
    model_uuid: str
    model_name: str

    @property
    def labels(self) -> dict[str, str]:
        """On the Service, its revisions and its route: how an event finds the record."""
        return {
            "app.kubernetes.io/part-of": "torpor",
            "app.kubernetes.io/managed-by": "torpor-serve",
            MODEL_LABEL: self.model_uuid,
            SERVER_LABEL: self.uuid,
        }


def host(name: str, namespace: str) -> str:
    """The host name of a cluster-local Knative Service."""
    return f"{name}.{namespace}.svc.cluster.local"


def gateway_url(name: str, settings: Settings) -> str:
    """The base URL that an OpenAI client is given."""
    return f"{settings.public_url.rstrip('/')}/m/{name}/v1"


@dataclass(frozen=True, slots=True)
class Trial:
    """What a template says of a rollout. rollout: its uuid while the revision is on trial, else empty.

    at_zero: the revision is ready without a replica, so it needs no second GPU to begin with. over: the cluster's template
    is of a rollout that ended badly, and has to become another one even where nothing else in it differs.
    """

    rollout: str = ""
    at_zero: bool = False
    over: bool = False

    @property
    def labels(self) -> dict[str, str]:
        """On the revision."""
        return {ROLLOUT_LABEL: self.rollout} if self.rollout or self.over else {}

    @property
    def annotations(self) -> dict[str, str]:
        """On the revision; config-autoscaler has to say allow-zero-initial-scale."""
        return {"autoscaling.knative.dev/initial-scale": "0"} if self.at_zero else {}


def knative_service(
    server: Server,
    plan: Plan,
    settings: Settings,
    targets: Sequence[Manifest] = LATEST,
    trial: Trial = Trial(),
) -> Manifest:
    """The `serving.knative.dev/v1` Service that runs `plan`, with its traffic."""
    annotations = {**_annotations(plan), **trial.annotations}
    return {
        **_service_reference(server, settings),
        "spec": {
            "template": {
                "metadata": {"labels": {**server.labels, **trial.labels}, "annotations": annotations},
                "spec": _pod(server, plan, settings, limits.timeout_s(plan, settings)),
            },
            "traffic": [dict(target) for target in targets],
        },
    }


def _service_reference(server: Server, settings: Settings) -> Manifest:
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {
            "name": server.name,
            "namespace": settings.namespace,
            # Reached through the gateway, never by a public host name of its own.
            "labels": {**server.labels, "networking.knative.dev/visibility": "cluster-local"},
        },
    }


def _annotations(plan: Plan) -> dict[str, str]:
    scale = plan.scale
    autoscaling = {
        "min-scale": str(scale.min),
        "max-scale": str(scale.max),
        "target": str(scale.target),
        "window": f"{scale.window_s}s",
        "scale-to-zero-pod-retention-period": f"{scale.retention_s}s",
    }
    return {
        **{f"autoscaling.knative.dev/{name}": value for name, value in autoscaling.items()},
        "serving.knative.dev/progress-deadline": f"{plan.start_s}s",
        **plan.runtime.annotations,
    }


def _pod(server: Server, plan: Plan, settings: Settings, timeout_s: int) -> Manifest:
    return {
        # The namespace's default account, whose token an engine has no use for.
        "automountServiceAccountToken": False,
        # The engine has its own queue; a hard limit here would only hide it from the autoscaler.
        "containerConcurrency": 0,
        # It bounds a call, its wait for a cold start included, and the drain.
        "timeoutSeconds": timeout_s,
        # A first token may have to wait for a cold start; without this line Knative would give it 300 s.
        "responseStartTimeoutSeconds": timeout_s,
        "containers": [_container(server, plan, settings)],
        "volumes": [
            {"name": "scratch", "emptyDir": {"sizeLimit": SCRATCH_LIMIT}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_MEMORY_LIMIT}},
        ],
    }


def _container(server: Server, plan: Plan, settings: Settings) -> Manifest:
    return {
        "name": "engine",
        "image": limits.image_of(plan, settings),
        "command": list(plan.runtime.command),
        "ports": [{"name": "http1", "containerPort": PORT}],
        "env": _environment(server, plan, settings),
        "resources": _resources(plan),
        **_probes(plan),
        "securityContext": {
            "runAsNonRoot": True,
            # The image's user; a number, because runAsNonRoot cannot judge a name.
            "runAsUser": 65532,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}, {"name": "shm", "mountPath": "/dev/shm"}],  # noqa: S108  # the volume that is mounted there
    }


def _environment(server: Server, plan: Plan, settings: Settings) -> list[Manifest]:
    values: Mapping[str, str] = {
        "TORPOR_SERVER_NAME": server.name,
        "TORPOR_MODEL_NAME": server.model_name,
        "TORPOR_MODEL_UUID": server.model_uuid,
        "TORPOR_ENGINE_ARGS": json.dumps(list(plan.arguments)),
        "TORPOR_JWKS_URL": settings.jwks_url,
        "TORPOR_VERIFY_URL": settings.verify_url,
        "TORPOR_USAGE_SINK": settings.usage_sink,
        **({"OTEL_EXPORTER_OTLP_ENDPOINT": settings.otlp_endpoint} if settings.otlp_endpoint else {}),
        # The root file system is read-only; whatever wants a home gets the scratch volume.
        "HOME": "/tmp",  # noqa: S108  # the volume that is mounted there
        **plan.environment,
    }
    plain = [{"name": name, "value": value} for name, value in values.items()]
    secret = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        for name, (secret, key) in _SECRETS.items()
    ]
    return plain + secret


def _resources(plan: Plan) -> Manifest:
    limits = {"memory": f"{plan.memory_mb}Mi"}
    if plan.gpus:
        limits["nvidia.com/gpu"] = str(plan.gpus)
    return {"requests": {"cpu": plan.runtime.resources.cpu, "memory": f"{plan.request_mb}Mi"}, "limits": limits}


def _probes(plan: Plan) -> Manifest:
    """The start may take long and is watched apart; afterwards three misses in a row take the replica out."""
    probe = plan.runtime.probe
    get = {"path": probe.path, "port": PORT}
    times = {"periodSeconds": probe.period_s, "timeoutSeconds": probe.timeout_s}
    return {
        "startupProbe": {"httpGet": get, **times, "failureThreshold": plan.start_s // probe.period_s},
        "readinessProbe": {"httpGet": {"path": probe.path}, **times, "failureThreshold": 3, "successThreshold": 1},
    }


def http_route(server: Server, settings: Settings) -> Manifest:
    """The `gateway.networking.k8s.io/v1` HTTPRoute that leads /m/<name>/... to the server's /..."""
    service, _, namespace = settings.ingress_service.partition(".")
    return {
        **_route_reference(server, settings),
        "spec": {
            "parentRefs": [{"name": settings.gateway}],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": f"/m/{server.name}"}}],
                    "filters": [_rewrite(host(server.name, settings.namespace))],
                    "backendRefs": [{"name": service, "namespace": namespace, "port": 80}],
                    # Off: a gateway's own limit (Envoy Gateway's is 15 s) would cut streams and calls that wake the model.
                    "timeouts": {"request": "0s"},
                }
            ],
        },
    }


def _route_reference(server: Server, settings: Settings) -> Manifest:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": f"model-{server.name}", "namespace": settings.namespace, "labels": server.labels},
    }


def references(server: Server, settings: Settings) -> list[Manifest]:
    """Both objects without their specs, the way in first: what has to go when the server is deleted."""
    return [_route_reference(server, settings), _service_reference(server, settings)]


def _rewrite(hostname: str) -> Manifest:
    """Knative routes by host alone; the engine knows no prefix."""
    path = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
    return {"type": "URLRewrite", "urlRewrite": {"hostname": hostname, "path": path}}
