"""The definition of ModelServe says what POST /serve takes: the same options within the same limits, and no more."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from functions.serve import names
from functions.serve.modelserve import spec as specification
from functions.serve.modelserve.spec import Wanted
from functions.serve.problems import BadSpec
from functions.serve.requests import Gpu, RolloutOptions, Scale, ServeOptions
from kn_model.local.admission.structural import problems

ROOT = Path(__file__).parents[2]
DEFINITION = yaml.safe_load((ROOT / "knative" / "base" / "serve" / "modelserve.yaml").read_text(encoding="utf-8"))
(VERSION,) = DEFINITION["spec"]["versions"]
SPEC = VERSION["schema"]["openAPIV3Schema"]["properties"]["spec"]
# Of a field: what both sides say about it, where they say it.
LIMITS = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "enum")
OPTIONS = {
    "runtime": "runtime",
    "gpu": "gpu",
    "memoryMb": "memory_mb",
    "timeoutSeconds": "timeout_s",
    "params": "params",
    "scale": "scale",
    "rollout": "rollout",
}


def _limits(schema: dict[str, Any]) -> dict[str, Any]:
    """The limits of a field, wherever a nullable one has them."""
    parts = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    found = {name: part[name] for part in parts for name in LIMITS if name in part}
    if "items" in schema:
        found["items"] = _limits(schema["items"])
    # The order of alternatives is of no importance.
    return {name: sorted(value) if name == "enum" else value for name, value in found.items()}


def _of(kind: Any) -> dict[str, Any]:
    schema = msgspec.json.schema(kind)
    properties: dict[str, Any] = schema["$defs"][kind.__name__]["properties"]
    return properties


@pytest.mark.parametrize(
    ("kind", "schema", "fields"),
    [
        (RolloutOptions, SPEC["properties"]["rollout"], specification.ROLLOUT),
        (Gpu, SPEC["properties"]["gpu"], specification.GPU),
        (Scale, SPEC["properties"]["scale"], specification.SCALE),
    ],
    ids=["rollout", "gpu", "scale"],
)
def test_limits_are_those_of_a_request(kind: Any, schema: dict[str, Any], fields: dict[str, str]) -> None:
    """Each field by its name in resources, with the limits of the option that it becomes."""
    assert schema["properties"].keys() == fields.keys()
    options = _of(kind)
    # `max` is called replicas, beside scale.
    assert options.keys() - {"max"} == set(fields.values())
    for field, option in fields.items():
        assert (field, _limits(schema["properties"][field])) == (field, _limits(options[option]))


def test_every_option_has_a_place() -> None:
    """What a request can say a resource can say; its name is the resource's."""
    named = {"replicas", *specification.KEYS}
    assert SPEC["properties"].keys() - named == OPTIONS.keys()
    assert _of(ServeOptions).keys() - {"name"} == set(OPTIONS.values())
    replicas, memory = SPEC["properties"]["replicas"], SPEC["properties"]["memoryMb"]
    assert (_limits(_of(Scale)["max"]), _limits(_of(ServeOptions)["memory_mb"])) == (_limits(replicas), _limits(memory))


def test_names_are_those_of_servers() -> None:
    """A resource that the definition takes has a name that serve takes, but for the functions' own."""
    name = VERSION["schema"]["openAPIV3Schema"]["properties"]["metadata"]["properties"]["name"]
    assert (name["maxLength"], names.check("a" * name["maxLength"])) == (names.MAX_LENGTH, "a" * names.MAX_LENGTH)
    for given in ("a", "a-b", "a1"):
        assert [] == list(problems(name, names.check(given), "name"))
    for given in ("A", "1a", "a-", "a_b"):
        assert list(problems(name, given, "name")), given


def _wanted(**spec: Any) -> Wanted:
    metadata = {"name": "smol", "uid": "u", "generation": 3}
    return specification.read({"metadata": metadata, "spec": {"modelUuid": "m-1", **spec}})


def test_a_spec_becomes_options() -> None:
    """Units are spelt out in resources; what is left out is left out."""
    found = _wanted(
        replicas=2,
        scale={"min": 1, "windowSeconds": 30, "retentionSeconds": 60, "target": 4},
        gpu={"name": "H100", "memoryMb": 80000, "count": 2},
        memoryMb=4096,
        params={"max_model_len": 512},
        rollout={"strategy": "direct", "maxErrorRate": 0.5, "maxTtftRatio": 2, "steps": [10, 100]},
    )
    assert ("uuid", "m-1") == found.key
    expected = ServeOptions(
        "smol", None, Gpu(80000, 2, "H100"), Scale(1, 2, 4, 30, 60), 4096, params={"max_model_len": 512}
    )
    assert (expected, RolloutOptions("direct", (10, 100), max_error_rate=0.5, max_ttft_ratio=2)) == (
        found.options,
        found.rollout,
    )
    assert (ServeOptions("smol"), RolloutOptions()) == (_wanted().options, _wanted().rollout)


@pytest.mark.parametrize(
    "spec", [{"modelName": "x"}, {"modelUuid": ""}, {"scale": {"minimum": 1}}, {"memoryMb": "4Gi"}]
)
def test_an_older_definition_lets_nothing_through(spec: dict[str, Any]) -> None:
    """What the installed definition did not refuse, serve does."""
    with pytest.raises(BadSpec):
        _wanted(**spec)


def test_a_token_is_never_shown() -> None:
    """Neither the value nor its digest has it in its text."""
    obj = {"metadata": {"name": "x", "uid": "u", "generation": 1, "annotations": {specification.TOKEN: "s3cret"}}}
    found = specification.read({**obj, "spec": {"modelName": "m"}})
    assert ("s3cret", False) == (found.token, "s3cret" in repr(found))


def test_examples_of_the_page_are_valid() -> None:
    """Every YAML block of docs/modelserve.md is a resource that the definition takes and serve can read."""
    text = (ROOT / "docs" / "modelserve.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(part.partition("```")[0]) for part in text.split("```yaml\n")[1:]]
    resources = [block for block in blocks if block.get("kind") == "ModelServe"]
    assert resources
    for each in resources:
        assert [] == list(problems(VERSION["schema"]["openAPIV3Schema"], each))
        specification.read({**each, "metadata": {**each["metadata"], "uid": "u", "generation": 1}})
