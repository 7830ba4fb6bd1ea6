"""The objects that a Knative Service owns: its Configuration, Route and Revisions. Pure; called by `reconciler.py`.

Names, labels and annotations are Knative's (knative/serving `pkg/reconciler/{service,configuration}/resources`).
"""

import copy
from collections.abc import Mapping
from typing import Any, Final

from kn_model.local.objects.kinds import CONFIGURATION, REVISION, ROUTE, Kind, Object

LABEL: Final = "serving.knative.dev/"
SERVICE_LABEL: Final = LABEL + "service"
_PASSED_ON: Final = ("networking.knative.dev/visibility",)
_CREATORS: Final = (LABEL + "creator", LABEL + "lastModifier")

Json = Mapping[str, Any]


def configuration_for(service: Json) -> Object:
    """The Configuration of a Service: its template under the Service's name."""
    return _owned(CONFIGURATION, service) | {"spec": {"template": copy.deepcopy(service["spec"]["template"])}}


def route_for(service: Json) -> Object:
    """The Route of a Service: its traffic, with `latestRevision` meaning the Configuration of the same name."""
    name = service["metadata"]["name"]
    targets = service["spec"].get("traffic") or [{"latestRevision": True, "percent": 100}]
    traffic = [
        target if target.get("revisionName") else {"configurationName": name, "latestRevision": True} | target
        for target in targets
    ]
    return _owned(ROUTE, service) | {"spec": {"traffic": copy.deepcopy(traffic)}}


def revision_for(configuration: Json) -> Object:
    """The Revision of a Configuration's present generation: `<name>-00001`, or the name its template brings."""
    metadata, template = configuration["metadata"], configuration["spec"]["template"]
    name, generation = metadata["name"], metadata["generation"]
    given = template.get("metadata") or {}
    labels = {
        SERVICE_LABEL: name,
        LABEL + "configuration": name,
        LABEL + "configurationGeneration": str(generation),
        LABEL + "configurationUID": metadata["uid"],
        LABEL + "serviceUID": metadata["ownerReferences"][0]["uid"],
    }
    creators = {key: metadata["annotations"][key] for key in _CREATORS if key in (metadata.get("annotations") or {})}
    return {
        "apiVersion": REVISION.api_version,
        "kind": REVISION.kind,
        "metadata": {
            "name": given.get("name") or f"{name}-{generation:05d}",
            "namespace": metadata["namespace"],
            "labels": (given.get("labels") or {}) | labels,
            # Never missing: `kn revision list` writes into this map.
            "annotations": creators | (given.get("annotations") or {}),
            "ownerReferences": [_owner_reference(configuration)],
        },
        "spec": copy.deepcopy(template["spec"]),
    }


def _owned(kind: Kind, service: Json) -> Object:
    metadata = service["metadata"]
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key in _PASSED_ON}
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if key in _CREATORS or key.startswith(LABEL + "rollout")
    }
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": labels | {SERVICE_LABEL: metadata["name"], LABEL + "serviceUID": metadata["uid"]},
            "annotations": annotations,
            "ownerReferences": [_owner_reference(service)],
        },
    }


def _owner_reference(owner: Json) -> dict[str, Any]:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
