"""What a Kubernetes API server does to an object on create, update and patch, as pure functions of values.

Called by the store. Rules: k8s.io/apiserver `pkg/registry/rest/{create,update}.go`; merge patch: RFC 7396.
"""

import base64
import copy
from collections.abc import Mapping
from typing import Any

from kn_model.local.objects.kinds import SECRET, Kind, Object

_FIXED = ("uid", "creationTimestamp", "generation", "name", "namespace")


def created(kind: Kind, obj: Mapping[str, Any], uid: str, now: str) -> Object:
    """The object as it is first stored; `now` is RFC 3339 in UTC, without fractions, as Kubernetes writes it."""
    new = copy.deepcopy(dict(obj))
    new["apiVersion"], new["kind"] = kind.api_version, kind.kind
    metadata = new.setdefault("metadata", {})
    metadata |= {"uid": uid, "creationTimestamp": now}
    if "generateName" in metadata and not metadata.get("name"):
        metadata["name"] = metadata["generateName"] + uid[-5:]
    if kind.namespaced:
        metadata.setdefault("namespace", "default")
    else:
        metadata.pop("namespace", None)
    if kind.has_status:
        metadata["generation"] = 1
    return _encoded(new) if kind == SECRET else new


def updated(kind: Kind, old: Mapping[str, Any], wanted: Mapping[str, Any]) -> Object:
    """The object after a write to its main resource: status stays, generation counts changes of the rest."""
    new = copy.deepcopy(dict(wanted))
    metadata = new.setdefault("metadata", {})
    for field in (*_FIXED, "resourceVersion"):
        metadata.pop(field, None)
        if field in old["metadata"]:
            metadata[field] = old["metadata"][field]
    if kind.has_status:
        new.pop("status", None)
        if "status" in old:
            new["status"] = copy.deepcopy(old["status"])
        if _desired(new) != _desired(old):
            metadata["generation"] += 1
    return _encoded(new) if kind == SECRET else new


def with_status(old: Mapping[str, Any], status: Mapping[str, Any]) -> Object:
    """The object after a write to its status subresource: nothing else changes."""
    return copy.deepcopy(dict(old)) | {"status": copy.deepcopy(dict(status))}


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: null removes, objects merge, anything else (arrays too) replaces."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def _desired(obj: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


def _encoded(secret: Object) -> Object:
    """A Secret's `stringData` is for writing only: it becomes part of `data`."""
    plain = secret.pop("stringData", None) or {}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
    return {"type": "Opaque"} | secret | {"data": (secret.get("data") or {}) | encoded}
