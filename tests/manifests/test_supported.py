"""What is refused on the laptop, and in which words: always with the field's path."""

import copy
from typing import Any

import pytest

from kn_model.local.admission.supported import check, misshapen
from kn_model.local.admission.supported_fields import FIELDS, KEPT_ONLY
from kn_model.local.objects.kinds import BUILT_IN

SERVICE: dict[str, Any] = {
    "apiVersion": "serving.knative.dev/v1",
    "kind": "Service",
    "metadata": {"name": "auth", "annotations": {}, "labels": {}},
    "spec": {"template": {"metadata": {"annotations": {}}, "spec": {"containers": [{"command": ["python"]}]}}},
}
TRIGGER: dict[str, Any] = {
    "apiVersion": "eventing.knative.dev/v1",
    "kind": "Trigger",
    "metadata": {"name": "t"},
    "spec": {"broker": "default", "filters": []},
}


def service(**pod: Any) -> dict[str, Any]:
    """A Knative Service with fields of the pod spec added."""
    changed = copy.deepcopy(SERVICE)
    changed["spec"]["template"]["spec"] |= pod
    return changed


def trigger(*filters: Any) -> dict[str, Any]:
    """A Trigger with these filters."""
    return {**TRIGGER, "spec": {**TRIGGER["spec"], "filters": list(filters)}}


POD = "spec.template.spec"
NO_CESQL = "is not supported here: no maintained CESQL parser exists for Python; use the other dialects"


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (service(), []),
        (service(affinity={}), [f"{POD}.affinity: is not supported here"]),
        (
            service(initContainers=[]),
            [f"{POD}.initContainers: is not supported here: one process is what an instance is"],
        ),
        (
            service(containers=[{"image": "i"}]),
            [f"{POD}.containers[0].command: is required here: needed, because there is no image to hold one"],
        ),
        (
            service(containers=[{"command": ["a"]}, {"command": ["b"]}]),
            [f"{POD}.containers: 2 are not supported here, at most 1"],
        ),
        (service(timeoutSeconds="1"), [f"{POD}.timeoutSeconds: expected an integer, got str"]),
        (service(volumes=[{"name": "v", "hostPath": {}}]), [f"{POD}.volumes[0].hostPath: is not supported here"]),
        (trigger({"cesql": "true"}), [f"spec.filters[0].cesql: {NO_CESQL}"]),
        (trigger({"any": [{"not": {"cesql": "true"}}]}), [f"spec.filters[0].any[0].not.cesql: {NO_CESQL}"]),
        (trigger({"any": [{"not": {"prefix": {"type": "a"}}}]}), []),
        (trigger({"exact": {"type": 1}}), ["spec.filters[0].exact: expected a map of strings, got dict"]),
        ({"apiVersion": "torpor.dev/v1", "kind": "ModelServe", "spec": {"model": "m"}}, []),
        ({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": []}, []),
    ],
)
def test_what_is_not_honoured_is_named(obj: dict[str, Any], expected: list[str]) -> None:
    """Each unsupported field gets a sentence with its path; supported ones none."""
    assert expected == check(obj)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("autoscaling.knative.dev/window", "10s", []),
        ("client.knative.dev/user-image", "i", []),
        ("example.com/anything", "x", []),
        ("autoscaling.knative.dev/minScale", "1", ["is not supported here"]),
        ("autoscaling.knative.dev/metric", "rps", ["rps is not supported here, only concurrency"]),
    ],
)
def test_annotations_of_knative_mean_something_or_are_refused(key: str, value: str, expected: list[str]) -> None:
    """An annotation of Knative's domains that would be without effect is refused; others are their owners'."""
    obj = service()
    obj["spec"]["template"]["metadata"]["annotations"][key] = value
    where = f"spec.template.metadata.annotations[{key}]: "
    assert [where + text for text in expected] == check(obj)


def test_every_kind_that_is_kept_is_in_the_table() -> None:
    """A kind without fields of its own is said to be without effect."""
    known = {(kind.api_version, kind.kind) for kind in FIELDS} | KEPT_ONLY.keys()
    assert [] == [kind.kind for kind in BUILT_IN if (kind.api_version, kind.kind) not in known]


def test_shape_is_told_apart_from_support() -> None:
    """Admission asks for types alone: a field that is only unsupported is not its business."""
    obj = service(affinity={}, containerConcurrency="many")
    assert [f"{POD}.containerConcurrency: expected an integer, got str"] == misshapen(obj)
