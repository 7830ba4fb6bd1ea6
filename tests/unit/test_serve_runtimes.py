"""Runtime files and the allow-list of parameters: nothing but bounded numbers, booleans and listed words gets through."""

from pathlib import Path
from typing import Any

import pytest

from functions.serve import planning, runtimes
from functions.serve.engine.arguments import chosen
from functions.serve.planning import Model
from functions.serve.problems import BadParameter, UnknownRuntime
from functions.serve.requests import Gpu, Scale, ServeOptions
from functions.serve.runtimes import Runtime, RuntimeFileError, Runtimes, Scaling
from tests.unit.serve_models import SMOLLM2

BUILT_IN = ["vllm", "vllm-cpu"]
MODEL = Model(
    "11111111-1111-4111-8111-111111111111",
    "SmolLM2-135M-Instruct",
    "available",
    {"config": SMOLLM2, "weights_bytes": 269_030_016, "parameters": {"BF16": 134_515_008}},
)
# One file that says everything there is to say.
FILE = """
name: other
device: cpu
image: other
command: [other]
arguments: []
environment: {}
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
    {"middleware": "os.system"},
    {"": 1},
    {"enable_prefix_caching": "true"},
]


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("params", ATTACKS, ids=str)
def test_nothing_outside_the_allow_list(name: str, params: dict[str, Any]) -> None:
    """Unknown names, other types, text where a number belongs and numbers out of bounds are refused."""
    with pytest.raises(BadParameter):
        runtimes.check_parameters(runtime(name), params)


def test_a_refusal_says_what_is_allowed() -> None:
    """The caller reads the bounds and needs no documentation."""
    with pytest.raises(BadParameter) as refusal:
        runtimes.check_parameters(runtime("vllm-cpu"), {"max_model_len": 1})
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
    checked = runtimes.check_parameters(known, params)
    assert chosen(str(runtimes.arguments(known, checked)).replace("'", '"'))


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_engine_takes_what_the_contract_chose(name: str) -> None:
    """The whole argument list of a plan passes the engine's allow-list."""
    plan = planning.plan(MODEL, ServeOptions(), Runtimes(), name)
    assert chosen(str(list(plan.arguments)).replace("'", '"'))


def test_arguments_of_the_laptop() -> None:
    """The contract's numbers are the engine's options; the cache in bytes, since whole GiB are too coarse."""
    options = ServeOptions(params={"max_model_len": 2048, "dtype": "bfloat16", "enable_prefix_caching": False})
    plan = planning.plan(MODEL, options, Runtimes(), "vllm-cpu")
    assert plan.arguments == (
        "--enforce-eager",
        "--max-model-len",
        "2048",
        "--max-num-seqs",
        "8",
        "--max-num-batched-tokens",
        "2048",
        "--kv-cache-memory-bytes",
        str(8 * 2048 * 23040),
        "--dtype",
        "bfloat16",
        "--no-enable-prefix-caching",
    )


def test_a_gpu_server_gets_the_share_that_the_contract_counted() -> None:
    """The engine takes that part of the device, no other."""
    options = ServeOptions(gpu=Gpu(memory_mb=81559, count=2), params={"gpu_memory_utilization": 0.5})
    plan = planning.plan(MODEL, options, Runtimes(), "vllm")
    assert plan.arguments[-2:] == ("--gpu-memory-utilization", "0.5")
    assert plan.gpus == 1


def test_memory_is_requested_as_needed_and_limited_as_asked() -> None:
    """A CPU server is scheduled with what the contract computed."""
    plan = planning.plan(MODEL, ServeOptions(memory_mb=8192), Runtimes(), "vllm-cpu")
    assert (plan.request_mb, plan.memory_mb) == (plan.verdict.total_mb, 8192)


SCALES = [
    pytest.param(Scale(), Scaling(0, 1, 8, 60, 0), id="the runtime's"),
    pytest.param(Scale(min=2), Scaling(2, 2, 8, 60, 0), id="a minimum lifts the maximum"),
    pytest.param(Scale(max=3, target=1, window_s=6, retention_s=30), Scaling(0, 3, 1, 6, 30), id="as asked for"),
]


@pytest.mark.parametrize(("asked", "expected"), SCALES)
def test_scale(asked: Scale, expected: Scaling) -> None:
    """What a request leaves out is the runtime's choice."""
    plan = planning.plan(MODEL, ServeOptions(scale=asked), Runtimes(), "vllm-cpu")
    assert plan.scale == expected


def test_an_unknown_runtime_lists_those_that_exist() -> None:
    """The caller can choose from the message."""
    with pytest.raises(UnknownRuntime) as refusal:
        Runtimes().get("vllm-tpu")
    assert refusal.value.detail == "'vllm-tpu' is not a runtime; there are: vllm, vllm-cpu"


def test_a_further_runtime_needs_only_a_file(tmp_path: Path) -> None:
    """TORPOR_RUNTIMES_DIR adds to the built-in ones."""
    (tmp_path / "other.yaml").write_text(FILE)
    known = Runtimes(str(tmp_path))
    assert (known.get("other").command, known.get("vllm").name) == (("other",), "vllm")


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
