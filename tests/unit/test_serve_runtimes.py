"""Runtime files and the allow-list of parameters: nothing but bounded numbers, booleans and listed words gets through."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from functions.serve import parameters, planning
from functions.serve.engine.arguments import chosen
from functions.serve.problems import BadParameter, UnknownRuntime
from functions.serve.requests import ServeOptions
from functions.serve.runtimes import Runtime, RuntimeFileError, Runtimes
from tests.unit.serve_models import BERT_BASE, EMBEDDER, GGUF, MODEL

BUILT_IN = ["vllm", "vllm-cpu", "vllm-embed"]
# One file that says everything there is to say.
FILE = """
name: other
device: cpu
image: other
command: [other]
arguments: []
environment: {}
kinds: {generate: {paths: [/v1/completions]}}
formats: [safetensors]
needs: {overhead_mb: 1, utilization: 1.0, block_tokens: 1, max_num_seqs: 1, max_num_batched_tokens: 1,
        usual_context: 128, staged: false}
resources: {cpu: 100m, memory_mb: 512}
scale: {min: 0, max: 1, target: 1, window_s: 6, retention_s: 0}
probe: {path: /health, period_s: 1, timeout_s: 1, start_s: 60}
parameters: {}
"""


def runtime(name: str) -> Runtime:
    """A built-in runtime."""
    return Runtimes().get(name)


def check(runtime: Runtime, params: dict[str, Any]) -> dict[str, parameters.Scalar]:
    """What the engine would be told."""
    return parameters.check(runtime.name, runtime.parameters, params)


ATTACKS = [
    {"trust_remote_code": True},
    {"--trust-remote-code": True},
    {"max_model_len": "2048; rm -rf /"},
    {"max_model_len": "2048\n--trust-remote-code"},
    {"max_model_len": "2048"},
    {"max_model_len": True},
    {"max_model_len": 2048.5},
    {"max_model_len": 0},
    {"max_model_len": 10**9},
    {"dtype": "../../etc/passwd"},
    {"dtype": "bfloat16 --trust-remote-code"},
    {"dtype": "bfloat16\n"},
    {"seed": -1},
    {"model": "s3://other/model"},
    {"max_model_len\n--trust-remote-code": 2048},
    {"max_model_len": [2048, "--trust-remote-code"]},
    {"max_model_len": {"--middleware": "os.system"}},
    {"max_model_len": float("nan")},
    {"max_model_len": float("inf")},
    {"gpu_memory_utilization": float("nan")},
    {"gpu_memory_utilization": "0.9; --api-key x"},
    {"quantization": "awq"},
    {"--middleware": "functions.serve.engine.edge.Edge"},
    {"runner": "pooling"},
    {"tool_parser_plugin": "/models/plugin.py"},
    {"chat_template": "{{ cycler.__init__.__globals__ }}"},
    {"dtype": ["auto"]},
    {"seed": "0x10"},
    {"seed": True},
    {"middleware": "os.system"},
    {"": 1},
    {"enable_prefix_caching": "true"},
]


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("params", ATTACKS, ids=str)
def test_nothing_outside_the_allow_list(name: str, params: dict[str, Any]) -> None:
    """Unknown names, other types, text where a number belongs and numbers out of bounds are refused."""
    with pytest.raises(BadParameter):
        check(runtime(name), params)


def test_a_refusal_says_what_is_allowed() -> None:
    """The caller reads the bounds and needs no documentation."""
    with pytest.raises(BadParameter) as refusal:
        check(runtime("vllm-cpu"), {"max_model_len": 1})
    assert refusal.value.detail == "max_model_len is '1'; it has to be an integer from 128 to 131072"


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("truth", [True, False])
def test_the_engine_takes_every_parameter(name: str, *, truth: bool) -> None:
    """The allow-list of serve is inside the engine's own, for every parameter at either end of its bounds."""
    known = runtime(name)
    params: dict[str, Any] = {}
    for key, parameter in known.parameters.items():
        values = {
            "boolean": truth,
            "choice": parameter.choices[0] if parameter.choices else "",
            "integer": int(parameter.minimum or 0),
            "number": parameter.minimum,
        }
        params[key] = values[parameter.type]
    checked = check(known, params)
    assert chosen(str(parameters.arguments(known.parameters, checked)).replace("'", '"'))


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_engine_takes_what_the_contract_chose(name: str) -> None:
    """The whole argument list of a plan passes the engine's allow-list."""
    model = EMBEDDER if name == "vllm-embed" else MODEL
    plan = planning.plan(model, ServeOptions(runtime=name), Runtimes(), "vllm")
    assert chosen(str(list(plan.arguments)).replace("'", '"'))


def test_an_unknown_runtime_lists_those_that_exist() -> None:
    """The caller can choose from the message."""
    with pytest.raises(UnknownRuntime) as refusal:
        Runtimes().get("vllm-tpu")
    assert refusal.value.detail == "'vllm-tpu' is not a runtime; there are: vllm, vllm-cpu, vllm-embed"


def test_a_further_runtime_needs_only_a_file(tmp_path: Path) -> None:
    """TORPOR_RUNTIMES_DIR adds to the built-in ones."""
    (tmp_path / "other.yaml").write_text(FILE)
    known = Runtimes(str(tmp_path))
    assert (known.get("other").command, known.get("vllm").name) == (("other",), "vllm")


def test_a_further_runtime_serves_what_no_other_can(tmp_path: Path) -> None:
    """A kind, a format and a path of its own, from the file alone; nobody has to name it."""
    file = FILE.replace("{generate: {paths: [/v1/completions]}}", "{classify: {paths: [/v1/classify]}}")
    (tmp_path / "other.yaml").write_text(file)
    metadata = {**EMBEDDER.metadata, "config": {**BERT_BASE, "architectures": ["BertForSequenceClassification"]}}
    plan = planning.plan(replace(EMBEDDER, metadata=metadata), ServeOptions(), Runtimes(str(tmp_path)), "vllm-cpu")
    assert (plan.runtime.name, plan.kind, plan.environment) == (
        "other",
        "classify",
        {"TORPOR_ENGINE_PATHS": '["/v1/classify"]'},
    )


def test_a_gguf_model_has_a_contract_where_a_runtime_reads_it(tmp_path: Path) -> None:
    """Its metadata stands in for config.json; the runtime is a file that somebody adds."""
    (tmp_path / "other.yaml").write_text(FILE.replace("formats: [safetensors]", "formats: [gguf]"))
    metadata = {"format": "gguf", "gguf": GGUF, "weights_bytes": 98_000_000, "parameters": {"Q4_K": 134_515_008}}
    plan = planning.plan(replace(MODEL, metadata=metadata), ServeOptions(), Runtimes(str(tmp_path)), "vllm-cpu")
    assert (plan.runtime.name, plan.verdict.fits, plan.verdict.split.weights_mb) == ("other", True, 94)


def test_a_further_gpu_needs_only_a_line(tmp_path: Path) -> None:
    """TORPOR_RUNTIMES_DIR's gpus.yaml adds to the built-in table and wins over it."""
    (tmp_path / "gpus.yaml").write_text("MI300X: 196288\nT4: 15000\n")
    known = Runtimes(str(tmp_path))
    assert [known.card(name).memory_mb for name in ("MI300X", "T4", "L4")] == [196288, 15000, 23034]


def test_the_stub_of_the_tests_is_a_runtime() -> None:
    """tests/runtimes/ is what TORPOR_RUNTIMES_DIR names where no vLLM is wanted; a small model fits it."""
    known = Runtimes(str(Path(__file__).parents[1] / "runtimes"))
    plan = planning.plan(MODEL, ServeOptions(runtime="stub"), known, "vllm")
    assert (plan.runtime.command[-1], plan.verdict.fits) == ("functions.serve.engine.stub", True)


BROKEN = [
    ("device: cpu", "device: tpu", "Invalid enum value 'tpu' - at `$.device`"),
    ("name: other", "name: other\nimagee: x", "Object contains unknown field `imagee`"),
    ("name: other", "name: [", "while parsing"),
    ("image: other", "", "missing required field `image`"),
]


@pytest.mark.parametrize(("old", "new", "message"), BROKEN)
def test_a_broken_file_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    """A misspelt field is an error at first use, with the file's name, not a silent default."""
    (tmp_path / "other.yaml").write_text(FILE.replace(old, new))
    with pytest.raises(RuntimeFileError, match=r"^other\.yaml: ") as error:
        Runtimes(str(tmp_path)).get("other")
    assert message in str(error.value)


def test_the_page_about_runtimes_lists_them() -> None:
    """docs/contract.md: name, device and kinds as in the files."""
    page = (Path(__file__).parents[2] / "docs" / "contract.md").read_text()
    rows = [f"| `{name}` | {runtime(name).device.upper()} | {', '.join(runtime(name).kinds)} |" for name in BUILT_IN]
    assert [] == [row for row in rows if row not in page]
