"""Kinds that a CustomResourceDefinition adds are served as the built-in ones are: to the real kubectl."""

import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import yaml

from kn_model.local.objects import kinds

Kubectl = Callable[..., Coroutine[Any, Any, tuple[int, str]]]
DEFINITION = Path(__file__).parents[3] / "knative" / "base" / "serve" / "modelserve.yaml"


def modelserve(**spec: Any) -> dict[str, Any]:
    """A ModelServe named smol."""
    return {
        "apiVersion": "model.torpor.dev/v1alpha1",
        "kind": "ModelServe",
        "metadata": {"name": "smol", "namespace": "torpor"},
        "spec": {"modelName": "smollm"} | spec,
    }


@pytest.fixture
async def defined(kubectl: Kubectl) -> Kubectl:
    """kubectl, after it has applied the definition."""
    code, output = await kubectl("apply", "-f", str(DEFINITION))
    assert (code, output) == (0, "customresourcedefinition.apiextensions.k8s.io/modelserves.model.torpor.dev created\n")
    return kubectl


async def test_a_defined_kind_is_served(defined: Kubectl, runtime: Any) -> None:
    """Established at once; applied, changed, explained, listed by short name and category, deleted."""
    assert (await defined("wait", "--for=condition=Established", f"-f{DEFINITION}", "--timeout=5s"))[0] == 0
    assert await _apply(defined, modelserve()) == (0, "modelserve.model.torpor.dev/smol created\n")
    assert await _apply(defined, modelserve(replicas=2)) == (0, "modelserve.model.torpor.dev/smol configured\n")
    (stored,) = runtime.store.list(runtime.store.custom_kinds()[0])
    assert (stored["spec"], stored["metadata"]["generation"]) == ({"modelName": "smollm", "replicas": 2}, 2)
    _, explained = await defined("explain", "modelserve.spec.rollout.holdSeconds")
    assert "How long each step lasts at least." in explained
    for name in ("ms", "torpor", "modelserves.v1alpha1.model.torpor.dev"):
        assert "smol" in (await defined("get", name))[1]
    assert await defined("delete", "ms", "smol") == (
        0,
        'modelserve.model.torpor.dev "smol" deleted from torpor namespace\n',
    )


async def test_columns_are_the_definitions(defined: Kubectl, runtime: Any) -> None:
    """What nobody has said yet is empty; `-o wide` shows the rest; the status subresource changes nothing else."""
    await _apply(defined, modelserve(runtime="vllm-cpu"))
    _, listed = await defined("get", "ms")
    assert listed.splitlines()[0].split() == ["NAME", "MODEL", "STATE", "READY", "REASON", "REPLICAS", "URL", "AGE"]
    status = {
        "modelName": "smollm",
        "state": "asleep",
        "replicas": 0,
        "colour": "blue",
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    patch = json.dumps({"status": status, "spec": {"runtime": "vllm"}})
    code, said = await defined("patch", "ms", "smol", "--subresource=status", "--type=merge", "-p", patch)
    assert code == 0, said
    _, listed = await defined("get", "ms", "-o", "wide")
    assert listed.splitlines()[1].split()[:5] == ["smol", "smollm", "asleep", "True", "0"]
    assert listed.splitlines()[1].split()[-1] == "vllm-cpu"
    (stored,) = runtime.store.list(runtime.store.custom_kinds()[0])
    assert ("colour" in stored["status"], stored["metadata"]["generation"]) == (False, 1)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"replicas": 0}, "spec.replicas in body should be greater than or equal to 1"),
        ({"modelUuid": "m-1"}, "must validate one and only one schema (oneOf): modelName | modelUuid | minioPath"),
        ({"rollout": {"strategy": "bold"}}, 'spec.rollout.strategy: Unsupported value: "bold"'),
        ({"gpu": {"memoryMb": "many"}}, "spec.gpu.memoryMb in body must be of type integer"),
        ({"colour": "blue"}, 'unknown field "spec.colour"'),
    ],
    ids=["bound", "two models", "enum", "type", "unknown"],
)
async def test_what_the_schema_refuses(defined: Kubectl, spec: dict[str, Any], words: str) -> None:
    """In the words of an API server, naming the field."""
    code, said = await _apply(defined, modelserve(**spec))
    assert (code, words in said) == (1, True), said


async def test_unknown_fields_are_dropped_where_the_client_does_not_mind(defined: Kubectl, runtime: Any) -> None:
    """As a real server does: `--validate=warn` says so, `--validate=ignore` does not."""
    code, said = await defined("apply", "--validate=warn", "-f", "-", stdin=yaml.safe_dump(modelserve(colour="blue")))
    assert (code, 'unknown field "spec.colour"' in said) == (0, True), said
    code, said = await defined("apply", "--validate=ignore", "-f", "-", stdin=yaml.safe_dump(modelserve(shape="round")))
    assert (code, "unknown" in said) == (0, False), said
    (stored,) = runtime.store.list(runtime.store.custom_kinds()[0])
    assert stored["spec"] == {"modelName": "smollm"}


async def test_objects_go_with_their_definition(defined: Kubectl, runtime: Any) -> None:
    """And nothing of the kind is known afterwards."""
    await _apply(defined, modelserve())
    assert (await defined("delete", "-f", str(DEFINITION)))[0] == 0
    assert runtime.store.list(kinds.CUSTOM_RESOURCE_DEFINITION) == []
    code, said = await defined("get", "modelserves")
    # What kubectl remembers of the kinds is ten minutes old at most; the server is asked.
    assert (code, "could not find the requested resource" in said) == (1, True), said


async def _apply(kubectl: Kubectl, obj: dict[str, Any]) -> tuple[int, str]:
    return await kubectl("apply", "-f", "-", stdin=yaml.safe_dump(obj))
