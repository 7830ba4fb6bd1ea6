"""Schemas of defined kinds prune, fill in and refuse as an API server does, and a definition that needs more is refused."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from kn_model.local.admission.admit import admit
from kn_model.local.admission.structural import defaulted, problems, pruned
from kn_model.local.api import jsonpath
from kn_model.local.api.errors import Invalid
from kn_model.local.apply import ManifestError, checked

DEFINITION = Path(__file__).parents[2] / "knative" / "base" / "serve" / "modelserve.yaml"
NUMBER = {"type": "integer", "minimum": 1, "maximum": 3}
SCHEMA = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {**NUMBER, "default": 2},
        "names": {"type": "array", "maxItems": 1, "items": {"type": "string", "pattern": "^a"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 2}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "port": {"x-kubernetes-int-or-string": True},
        "share": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
        "colour": {"type": "string", "enum": ["red"], "nullable": True},
    },
}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"size": 3, "names": ["a"], "labels": {"x": "y"}, "port": "http", "share": 0.5, "colour": None}, []),
        ({"size": 4}, ["size: Invalid value: 4: size in body should be less than or equal to 3"]),
        ({"size": True}, ['size: Invalid value: "boolean": size in body must be of type integer: "boolean"']),
        ({"size": 2.0}, []),
        ({}, ["size: Required value"]),
        ({"size": 1, "names": ["b"]}, ["names[0]: Invalid value: \"b\": names[0] in body should match '^a'"]),
        ({"size": 1, "names": ["a", "a"]}, ["names: Invalid value: 2: names in body should have at most 1 items"]),
        ({"size": 1, "labels": {"x": "long"}}, ['labels.x: Invalid value: "long": labels.x in body should be at most 2 chars long']),
        ({"size": 1, "port": 1.5}, ["port: Invalid value: 1.5: port in body must be of type integer or string"]),
        ({"size": 1, "share": 0}, ["share: Invalid value: 0: share in body should be greater than 0"]),
        ({"size": 1, "colour": "blue"}, ['colour: Unsupported value: "blue": supported values: "red"']),
    ],
)  # fmt: skip
def test_what_is_refused(value: dict[str, Any], expected: list[str]) -> None:
    """Each problem names its field, in an API server's words."""
    assert expected == [str(each) for each in problems(SCHEMA, value)]


def test_unknown_fields_are_dropped_and_named() -> None:
    """Also deep inside; what a schema leaves free stays."""
    value = {"size": 1, "shape": "round", "free": {"any": {"thing": 1}}, "labels": {"x": "y"}}
    assert pruned(SCHEMA, value) == ({key: item for key, item in value.items() if key != "shape"}, ["shape"])
    listed = {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}}
    assert pruned(listed, [{"a": "x", "b": "y"}], "spec.list") == ([{"a": "x"}], ["spec.list[0].b"])


def test_defaults_are_filled_in() -> None:
    """Also for a null that may not be one; what is said stays."""
    assert defaulted(SCHEMA, {"size": None, "colour": None}) == {"size": 2, "colour": None}
    assert defaulted(SCHEMA, {"size": 1}) == {"size": 1}


def _with(change: Any) -> dict[str, Any]:
    crd: dict[str, Any] = yaml.safe_load(DEFINITION.read_text(encoding="utf-8"))
    changed = copy.deepcopy(crd)
    change(changed["spec"], changed["spec"]["versions"][0])
    return changed


def _column(path: str) -> Any:
    return lambda _, version: version["additionalPrinterColumns"].append(
        {"name": "x", "type": "string", "jsonPath": path}
    )


def _property(schema: dict[str, Any]) -> Any:
    return lambda _, version: version["schema"]["openAPIV3Schema"]["properties"].update(x=schema)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda spec, _: spec.update(group="example.com"), "must be spec.names.plural+'.'+spec.group"),
        (lambda spec, _: spec.update(scope="Everywhere"), "spec.scope"),
        (lambda _, version: version.update(storage=False), "has to be served and stored"),
        (lambda _, version: version.update(schema={}), "schema.openAPIV3Schema"),
        (_property({"type": "string", "x-kubernetes-validations": [{"rule": "self > 0"}]}), "x-kubernetes-validations"),
        (_property({"description": "no type"}), "properties[x].type"),
        (_column("{.spec.x}"), "additionalPrinterColumns[9].jsonPath"),
        (_column(".items[*].name"), "additionalPrinterColumns[9].jsonPath"),
    ],
)
def test_a_definition_that_asks_for_more_is_refused(change: Any, words: str) -> None:
    """By the name of what is not served, so that nothing of it is silently without effect."""
    with pytest.raises(Invalid) as refused:
        admit(_with(change))
    assert words in refused.value.message


def test_a_definition_is_established_at_once() -> None:
    """Its status says that the kind is served, as `kubectl wait` looks for it."""
    status = admit(_with(lambda *_: None))["status"]
    assert {"Established": "True", "NamesAccepted": "True"} == {
        each["type"]: each["status"] for each in status["conditions"]
    }
    assert ["v1alpha1"] == status["storedVersions"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".spec.name", "x"),
        (".spec.list[1]", "b"),
        ('.status.conditions[?(@.type=="Ready")].status', "True"),
        (".metadata['a.b/c']", "d"),
        (".spec.missing.deeper", None),
    ],
)
def test_columns_are_read_by_path(path: str, expected: object) -> None:
    """Names, indexes, conditions; what is not there is None."""
    conditions = [{"type": "Live", "status": "False"}, {"type": "Ready", "status": "True"}]
    obj = {"metadata": {"a.b/c": "d"}, "spec": {"name": "x", "list": ["a", "b"]}, "status": {"conditions": conditions}}
    assert (True, expected) == (jsonpath.understood(path), jsonpath.first(path, obj))


def test_manifests_may_hold_objects_of_a_kind_that_they_define() -> None:
    """In any order; what the schema refuses is among the problems."""
    crd = _with(lambda *_: None)
    obj = {"apiVersion": "model.torpor.dev/v1alpha1", "kind": "ModelServe", "metadata": {"name": "x", "namespace": "t"}}
    assert ["CustomResourceDefinition", "ModelServe"] == [
        each["kind"] for each in checked([{**obj, "spec": {"modelName": "m"}}, crd])
    ]
    with pytest.raises(ManifestError, match=r"unknown field: spec\.colour"):
        checked([crd, {**obj, "spec": {"modelName": "m", "colour": "blue"}}])
    with pytest.raises(ManifestError, match="one and only one"):
        checked([crd, {**obj, "spec": {}}])
