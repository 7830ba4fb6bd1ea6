"""Objects that every admission rule is content with, to be broken by tests in one place at a time."""

import copy
import re
from collections.abc import Mapping
from typing import Any

ABSENT = object()

SERVICE: Mapping[str, Any] = {
    "apiVersion": "serving.knative.dev/v1",
    "kind": "Service",
    "metadata": {"name": "auth", "namespace": "torpor", "labels": {}, "annotations": {}},
    "spec": {
        "template": {
            "metadata": {"annotations": {}},
            "spec": {
                "containers": [
                    {
                        "name": "auth",
                        "image": "torpor-functions",
                        "command": ["python"],
                        "ports": [{"name": "http1", "containerPort": 8080}],
                        "env": [{"name": "A", "value": "b"}],
                        "resources": {"limits": {"memory": "1Gi"}},
                        "readinessProbe": {"httpGet": {"path": "/healthz"}},
                        "securityContext": {"runAsUser": 1000},
                        "volumeMounts": [{"name": "tmp", "mountPath": "/scratch"}],
                    }
                ],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            },
        },
        "traffic": [{"latestRevision": True, "percent": 100}],
    },
}
REVISION: Mapping[str, Any] = {
    "apiVersion": "serving.knative.dev/v1",
    "kind": "Revision",
    "metadata": {"name": "auth-00001", "namespace": "torpor", "annotations": {}},
    "spec": {"containers": [{"name": "auth", "image": "torpor-functions"}]},
}
ROUTE: Mapping[str, Any] = {
    "apiVersion": "serving.knative.dev/v1",
    "kind": "Route",
    "metadata": {"name": "auth", "namespace": "torpor"},
    "spec": {"traffic": [{"configurationName": "auth", "percent": 100, "latestRevision": True}]},
}
BROKER: Mapping[str, Any] = {
    "apiVersion": "eventing.knative.dev/v1",
    "kind": "Broker",
    "metadata": {"name": "default", "namespace": "torpor"},
    "spec": {"config": {"apiVersion": "v1", "kind": "ConfigMap", "name": "c"}, "delivery": {}},
}
TRIGGER: Mapping[str, Any] = {
    "apiVersion": "eventing.knative.dev/v1",
    "kind": "Trigger",
    "metadata": {"name": "t", "namespace": "torpor"},
    "spec": {
        "broker": "default",
        "filters": [{"exact": {"type": "a"}}],
        "subscriber": {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "s"}},
        "delivery": {},
    },
}
PING: Mapping[str, Any] = {
    "apiVersion": "sources.knative.dev/v1",
    "kind": "PingSource",
    "metadata": {"name": "tick", "namespace": "torpor"},
    "spec": {"schedule": "* * * * *", "sink": {"uri": "http://x/"}},
}
WATCH: Mapping[str, Any] = {
    "apiVersion": "sources.knative.dev/v1",
    "kind": "ApiServerSource",
    "metadata": {"name": "servers", "namespace": "torpor"},
    "spec": {
        "mode": "Resource",
        "resources": [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "selector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
            }
        ],
        "sink": {"uri": "http://x/"},
    },
}


def put(obj: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `obj` with values set at paths; the part after `#` is one key with dots in it."""
    new = copy.deepcopy(dict(obj))
    for path, value in changes.items():
        plain, _, key = path.partition("#")
        steps: list[Any] = [int(step) if step.isdigit() else step for step in re.findall(r"[^.\[\]]+", plain)]
        steps += [key] if key else []
        target: Any = new
        for step in steps[:-1]:
            target = target[step] if isinstance(step, int) else target.setdefault(step, {})
        if value is ABSENT:
            del target[steps[-1]]
        elif steps[-1] == "append":
            target.append(value)
        else:
            target[steps[-1]] = value
    return new
