"""CustomResourceDefinitions: what may be defined here, and what an object of a defined kind has to be. Pure.

Called by `admission.admit` for the definitions themselves and by `api/cluster.py` for objects of their kinds. A definition
that asks for what is not judged or served here (CEL rules, several versions, webhooks) is refused by name.
Source: k8s.io/apiextensions-apiserver `pkg/apis/apiextensions/validation`, `pkg/apiserver/customresource_handler.go`.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kn_model.local.admission import structural
from kn_model.local.admission.finding import Finding, Findings, invalid, missing, under
from kn_model.local.api import jsonpath
from kn_model.local.api.errors import Invalid
from kn_model.local.objects.conditions import Condition, timestamp, written
from kn_model.local.objects.kinds import Kind, Object

# In every object, whatever its schema says of them.
_EVERYWHERE: Final[Mapping[str, Any]] = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"type": "object", structural.KEEP: True},
}
_NOT_JUDGED: Final = ("x-kubernetes-validations", "x-kubernetes-embedded-resource", "$ref")


def rules(crd: Mapping[str, Any]) -> Findings:
    """What is wrong with a definition; its shape is known to be right."""
    spec, names = crd["spec"], crd["spec"].get("names") or {}
    required = {"group": spec.get("group"), "names.plural": names.get("plural"), "names.kind": names.get("kind")}
    if absent := [f"spec.{field}" for field, value in required.items() if not value]:
        yield missing(*absent)
    expected = f"{names.get('plural')}.{spec.get('group')}"
    if crd["metadata"].get("name") != expected:
        details = f"must be spec.names.plural+'.'+spec.group: {expected}"
        yield invalid(crd["metadata"].get("name"), "metadata.name", details)
    if spec.get("scope") not in ("Namespaced", "Cluster"):
        yield invalid(spec.get("scope"), "spec.scope", "Namespaced or Cluster")
    if not spec.get("versions"):
        yield missing("spec.versions")
    # More than one is refused before: supported_fields.
    for version in spec.get("versions") or []:
        yield from under("spec.versions[0]", _of_version(version))


def _of_version(version: Mapping[str, Any]) -> Findings:
    if not (version.get("served") and version.get("storage")):
        yield invalid(version.get("name"), "name", "the one version has to be served and stored")
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if schema:
        yield from _of_schema(schema, "schema.openAPIV3Schema")
    else:
        yield missing("schema.openAPIV3Schema")
    for number, column in enumerate(version.get("additionalPrinterColumns") or []):
        if not jsonpath.understood(column.get("jsonPath", "")):
            where = f"additionalPrinterColumns[{number}].jsonPath"
            yield invalid(column.get("jsonPath"), where, "is not supported here")


def _of_schema(schema: Any, path: str) -> Findings:
    """Every field has a type or is kept as it is, and no keyword is one that would not be looked at."""
    for word in _NOT_JUDGED:
        if word in schema:
            yield Finding("is not supported here", (f"{path}.{word}",))
    free = schema.get(structural.KEEP) or schema.get(structural.INT_OR_STRING)
    if "type" not in schema and not free:
        yield missing(f"{path}.type")
    for where, below in _children(schema, path):
        yield from _of_schema(below, where)


def _children(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, below in (schema.get("properties") or {}).items():
        yield f"{path}.properties[{name}]", below
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), Mapping):
            yield f"{path}.{word}", schema[word]


def established(crd: Object) -> Object:
    """The definition with the status that says that its kind is served, as `kubectl wait` looks for it."""
    names, (version,) = crd["spec"]["names"], crd["spec"]["versions"]
    accepted = [
        Condition("NamesAccepted", True, "NoConflicts", "no conflicts found"),
        Condition("Established", True, "InitialNamesAccepted", "the initial names have been accepted"),
    ]
    status = {
        "conditions": written(accepted, crd.get("status") or {}, timestamp()),
        "acceptedNames": {"singular": names["kind"].lower(), "listKind": f"{names['kind']}List", **names},
        "storedVersions": [version["name"]],
    }
    return {**crd, "status": status}


def decoded(kind: Kind, obj: Object) -> tuple[Object, list[str]]:
    """An object of a defined kind as it is kept: without unknown fields, which are named, and with its defaults."""
    kept, unknown = structural.pruned(_whole(kind), obj)
    filled: Object = copy.deepcopy(structural.defaulted(_whole(kind), kept))
    return filled, unknown


def without_unknown(kind: Kind, patch: Object) -> Object:
    """A patch without what the kind's schema does not know; any other kind's as it is."""
    if kind.schema is None:
        return patch
    kept: Object = structural.pruned(_whole(kind), patch)[0]
    return kept


def told(kind: Kind, obj: Object) -> Object:
    """An object whose status is written, as it is kept. Raises Invalid when the status breaks the kind's schema."""
    if kind.schema is None:
        return obj
    kept, _ = decoded(kind, obj)
    status = kind.schema.get("properties", {}).get("status", {})
    _require(kind, kept, structural.problems(status, kept.get("status", {}), "status"))
    return kept


def require_valid(kind: Kind, obj: Object) -> None:
    """Raises Invalid (422) naming every field that breaks the kind's schema; its status is not the writer's."""
    desired = {name: value for name, value in obj.items() if name != "status"}
    _require(kind, obj, structural.problems(kind.schema or {}, desired))


def _whole(kind: Kind) -> Mapping[str, Any]:
    schema = kind.schema or {}
    return {**schema, "properties": {**schema.get("properties", {}), **_EVERYWHERE}}


def _require(kind: Kind, obj: Object, problems: Iterator[structural.Cause]) -> None:
    found = list(problems)
    if not found:
        return
    name = obj["metadata"].get("name", "")
    causes = [{"reason": each.reason, "message": each.message, "field": each.field or "<nil>"} for each in found]
    text = str(found[0]) if len(found) == 1 else f"[{', '.join(map(str, found))}]"
    error = Invalid(f'{kind.kind}.{kind.group} "{name}" is invalid: {text}', kind, name, causes=causes)
    # Where Kubernetes judges an object it names the kind, everywhere else the resource.
    error.details["kind"] = kind.kind
    raise error
