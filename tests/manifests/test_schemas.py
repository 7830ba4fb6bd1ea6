"""Every object of every overlay is one that a cluster's API server would take as it is, without dropping a field."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

Object = dict[str, Any]
# Schemas of core kinds: the newest that the validator carries; Knative 1.23 asks for 1.34 or later.
KUBERNETES = "1.37"
KEPT = {"x-kubernetes-preserve-unknown-fields": True}
CORE = (
    "v1",
    "apiextensions.k8s.io/v1",
    "apps/v1",
    "batch/v1",
    "networking.k8s.io/v1",
    "policy/v1",
    "rbac.authorization.k8s.io/v1",
)
# Kinds whose schema is not at hand: an interface inside Knative, and one of Knative's RabbitMQ Broker. Read by hand.
UNSEEN = {
    ("networking.internal.knative.dev/v1alpha1", "Ingress"),
    ("eventing.knative.dev/v1alpha1", "RabbitmqBrokerConfig"),
}


def as_json_schema(schema: Any) -> Any:
    """An OpenAPI v3 schema as Kubernetes extends it, in the words of JSON Schema."""
    if isinstance(schema, list):
        return [as_json_schema(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    plain = {key: as_json_schema(value) for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    if schema.get("x-kubernetes-int-or-string") is True:
        return {key: value for key, value in plain.items() if key not in ("type", "anyOf", "format")}
    if schema.get("nullable"):
        plain["type"] = [plain["type"], "null"]
    return plain


def unknown_fields(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    """The fields that an API server would prune: absent from a schema that does not preserve them."""
    if schema.get("x-kubernetes-preserve-unknown-fields") is True:
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown_fields(schema.get("items", {}), item, f"{path}[{index}]")
    if not isinstance(value, Mapping) or schema.get("x-kubernetes-embedded-resource"):
        return
    properties, extra = schema.get("properties", {}), schema.get("additionalProperties")
    for key, item in value.items():
        below = f"{path}.{key}" if path else key
        if key in properties:
            yield from unknown_fields(properties[key], item, below)
        elif isinstance(extra, Mapping):
            yield from unknown_fields(extra, item, below)
        elif not extra:
            yield below


def custom(objects: Sequence[Object]) -> list[Object]:
    """The objects of kinds that a CRD defines."""
    foreign = [each for each in objects if each["apiVersion"] not in CORE]
    return [each for each in foreign if (each["apiVersion"], each["kind"]) not in UNSEEN]


def test_custom_objects_fit_their_schema(
    objects: Sequence[Object], crd_schemas: Mapping[tuple[str, str], Object]
) -> None:
    """Knative's and the Gateway API's kinds have the types and values that their CRDs ask for."""
    for each in custom(objects):
        schema = as_json_schema(crd_schemas[each["apiVersion"], each["kind"]])
        jsonschema.Draft202012Validator(schema).validate(each)


def test_custom_objects_have_no_field_that_would_be_pruned(
    objects: Sequence[Object], crd_schemas: Mapping[tuple[str, str], Object]
) -> None:
    """A misspelt field is pruned in silence by a cluster; it is found here."""
    for each in custom(objects):
        schema = {**crd_schemas[each["apiVersion"], each["kind"]]}
        # Every object has these three, whether its CRD says so or not.
        schema["properties"] = {**schema["properties"], "apiVersion": {}, "kind": {}, "metadata": KEPT}
        assert [] == list(unknown_fields(schema, each, "")), each["metadata"]["name"]


def test_a_misspelt_field_is_found(crd_schemas: Mapping[tuple[str, str], Object]) -> None:
    """The check above can fail."""
    schema = crd_schemas["serving.knative.dev/v1", "Service"]
    pod = {"containers": [{"image": "i", "lifecycle": {}}], "terminationGracePeriodSeconds": 1}
    found = list(unknown_fields(schema, {"spec": {"template": {"spec": pod}}}, ""))
    where = "spec.template.spec"
    assert [f"{where}.containers[0].lifecycle", f"{where}.terminationGracePeriodSeconds"] == found


def test_core_objects_fit_kubernetes(objects: Sequence[Object]) -> None:
    """ConfigMaps, Jobs, Roles and policies are valid, misspelt fields included."""
    for each in objects:
        if each["apiVersion"] in CORE:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)


def test_the_pods_that_knative_makes_fit_kubernetes(objects: Sequence[Object]) -> None:
    """A revision's pod spec without Knative's own fields is a valid Pod: no tool looks into a Knative Service itself."""
    own = {"containerConcurrency", "timeoutSeconds", "responseStartTimeoutSeconds", "idleTimeoutSeconds"}
    for each in objects:
        if each["apiVersion"] == "serving.knative.dev/v1":
            spec = {key: value for key, value in each["spec"]["template"]["spec"].items() if key not in own}
            for container in spec["containers"]:
                # Knative fills the port in; Kubernetes insists on it.
                get = {**container["readinessProbe"]["httpGet"], "port": 1}
                containers = [{**container, "readinessProbe": {"httpGet": get}}]
                pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
                kubernetes_validate.validate(
                    {**pod, "spec": {**spec, "containers": containers}}, KUBERNETES, strict=True
                )


def test_a_pod_with_a_misspelt_field_is_found() -> None:
    """The strict check above can fail."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "x", "images": "y"}]},
    }
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
