"""What the laptop's API drops of an object is what a cluster's API server drops: its tables know the same fields."""

from collections.abc import Iterator, Mapping
from typing import Any

from kn_model.local.admission.supported import check, pruned
from kn_model.local.admission.supported_fields import ELSEWHERE, FIELDS
from kn_model.local.objects.kinds import Kind

Object = dict[str, Any]
Schemas = Mapping[tuple[str, str], Object]
SCALARS: Mapping[str, Any] = {"string": "x", "integer": 1, "number": 1, "boolean": True}


def _defined(schemas: Schemas) -> Iterator[tuple[Kind, Object]]:
    """Each kind of the table that a CRD defines, with its schema."""
    for kind in FIELDS:
        if (kind.api_version, kind.kind) in schemas:
            yield kind, schemas[kind.api_version, kind.kind]


def _leaves(schema: Object, path: str) -> Iterator[str]:
    """Every field of a schema down to those without fields of their own, as paths; `[]` is an item."""
    if "items" in schema:
        yield from _leaves(schema["items"], f"{path}[]")
        return
    properties = schema.get("properties") or {}
    if not properties:
        yield path
    for name, below in properties.items():
        if path or name in ("spec", "data"):
            yield from _leaves(below, f"{path}.{name}" if path else name)


def _holding(path: str) -> Object:
    """An object with this field and no other."""
    value: Any = {}
    for part in reversed(path.split(".")):
        name = part.removesuffix("[]")
        value = {name: [value] if part.endswith("[]") else value}
    found: Object = value
    return found


def _holds(obj: Any, path: str) -> bool:
    for part in path.split("."):
        if not isinstance(obj, Mapping) or part.removesuffix("[]") not in obj:
            return False
        obj = obj[part.removesuffix("[]")]
        obj = obj[0] if part.endswith("[]") else obj
    return True


def test_no_field_of_a_cluster_is_dropped(crd_schemas: Schemas) -> None:
    """Honoured here or not, it is there for the webhooks to judge, as on a cluster."""
    for kind, schema in _defined(crd_schemas):
        for path in _leaves(schema, ""):
            obj = {"apiVersion": kind.api_version, "kind": kind.kind, **_holding(path)}
            assert _holds(pruned(obj), path), (kind.kind, path)


def test_what_is_known_elsewhere_exists_and_is_not_honoured_here(crd_schemas: Schemas) -> None:
    """Each path of the second table is a field of the CRD, and strict validation names it."""
    for kind, schema in _defined(crd_schemas):
        for path in ELSEWHERE.get(kind, ()):
            known = list(_leaves(schema, ""))
            assert any(each.startswith((path, f"{path}[]")) for each in known), (kind.kind, path)
            obj = {"apiVersion": kind.api_version, "kind": kind.kind, **_holding(path)}
            assert check(obj), (kind.kind, path)


def test_a_field_of_nobody_is_dropped() -> None:
    """Wherever it is; what is free below a known field stays."""
    kind = next(each for each in FIELDS if each.kind == "Service")
    pod = {"containers": [{"image": "i", "lifecycle": {}}], "restartPolicy": "Never", "affinity": {"any": 1}}
    obj = {"apiVersion": kind.api_version, "kind": kind.kind, "spec": {"template": {"spec": pod}}, "colour": "blue"}
    kept = pruned(obj)
    assert {"apiVersion", "kind", "spec"} == kept.keys()
    assert {"containers": [{"image": "i"}], "affinity": {"any": 1}} == kept["spec"]["template"]["spec"]
