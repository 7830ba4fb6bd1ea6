"""Plans: which runtime serves a model, on which GPU, with which arguments, in how much memory."""

from dataclasses import replace
from typing import Any

import pytest

from functions.serve import planning
from functions.serve.planning import Model
from functions.serve.problems import NoRuntime, UnknownGpu
from functions.serve.requests import Gpu, Scale, ServeOptions
from functions.serve.runtimes import Runtimes, Scaling
from tests.unit.serve_models import BERT_BASE, EMBEDDER, MODEL, SMOLLM2


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
        # Eight requests, and the block of 128 tokens that vLLM keeps for itself.
        str((8 * 2048 + 128) * 23040),
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


CHOICES = [
    pytest.param(MODEL, "vllm", "vllm", "generate", id="the usual one"),
    pytest.param(EMBEDDER, "vllm", "vllm-embed", "embed", id="vectors on a GPU"),
    pytest.param(EMBEDDER, "vllm-cpu", "vllm-cpu", "embed", id="vectors on a CPU"),
    pytest.param(
        replace(MODEL, metadata={**MODEL.metadata, "embeds": True}),
        "vllm",
        "vllm-embed",
        "embed",
        id="a decoder whose files say that it makes vectors",
    ),
]


@pytest.mark.parametrize(("model", "usual", "runtime", "kind"), CHOICES)
def test_the_models_kind_chooses_the_runtime(model: Model, usual: str, runtime: str, kind: str) -> None:
    """Unless the caller names one; on the device of the installation's usual runtime."""
    plan = planning.plan(model, ServeOptions(), Runtimes(), usual)
    assert (plan.runtime.name, plan.kind, plan.usual_image) == (runtime, kind, True)


def test_a_decoder_can_be_asked_for_vectors() -> None:
    """By naming the runtime; the other way round there is nothing that could speak."""
    options = ServeOptions(runtime="vllm-embed", params={"max_num_batched_tokens": 256})
    plan = planning.plan(MODEL, options, Runtimes(), "vllm")
    assert (plan.kind, plan.arguments[:2]) == ("embed", ("--runner", "pooling"))
    assert plan.arguments[plan.arguments.index("--max-num-batched-tokens") + 1] == "8192"
    with pytest.raises(NoRuntime) as refusal:
        planning.plan(EMBEDDER, ServeOptions(runtime="vllm"), Runtimes(), "vllm")
    assert refusal.value.detail.endswith("vllm can only generate")


PATHS = [
    pytest.param(MODEL, '["/v1/chat/completions", "/v1/completions"]', id="generate"),
    pytest.param(EMBEDDER, '["/v1/embeddings"]', id="embed"),
]


@pytest.mark.parametrize(("model", "expected"), PATHS)
def test_the_engine_is_told_which_paths_it_lets_through(model: Model, expected: str) -> None:
    """Those of the runtime's file for the kind of model, beside what the file says itself."""
    plan = planning.plan(model, ServeOptions(), Runtimes(), "vllm-cpu")
    assert plan.environment == {**plan.runtime.environment, "TORPOR_ENGINE_PATHS": expected}


def test_an_encoder_on_a_cpu_gets_no_cache_to_speak_of() -> None:
    """But a number all the same: without one vLLM would claim nine tenths of the machine."""
    arguments = planning.plan(EMBEDDER, ServeOptions(), Runtimes(), "vllm-cpu").arguments
    assert arguments[arguments.index("--kv-cache-memory-bytes") + 1] == str(2**20)


BITSANDBYTES = {**SMOLLM2, "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}


CLASSIFIER = {**BERT_BASE, "architectures": ["BertForSequenceClassification"]}


UNSERVABLE = [
    pytest.param({"config": SMOLLM2, "format": "gguf"}, "vllm reads only safetensors", id="GGUF"),
    pytest.param({"config": BITSANDBYTES}, "vllm does not load bitsandbytes, but awq, gptq, fp8", id="bitsandbytes"),
    pytest.param({"config": CLASSIFIER}, "vllm can only generate; vllm-embed can only embed", id="a classifier"),
]


@pytest.mark.parametrize(("metadata", "why"), UNSERVABLE)
@pytest.mark.parametrize("named", [None, "vllm"])
def test_what_no_runtime_serves_is_refused_with_the_reason(
    metadata: dict[str, Any], why: str, named: str | None
) -> None:
    """Before anything starts: each runtime's obstacle, whether the caller named one or not."""
    with pytest.raises(NoRuntime) as refusal:
        planning.plan(replace(MODEL, metadata=metadata), ServeOptions(runtime=named), Runtimes(), "vllm")
    assert why.partition(";")[0] in refusal.value.detail


def test_a_gpu_by_its_name() -> None:
    """Its memory comes from the table, whatever the case; a name with memory is for people alone."""
    plans = [
        planning.plan(MODEL, ServeOptions(gpu=gpu), Runtimes(), "vllm")
        for gpu in (Gpu(name="h200"), Gpu(memory_mb=40000, name="mine"))
    ]
    assert [plan.verdict.available_mb for plan in plans] == [129394, 36000]


def test_an_unknown_gpu_lists_those_that_are_known() -> None:
    """Or its memory can be said."""
    with pytest.raises(UnknownGpu) as refusal:
        planning.plan(MODEL, ServeOptions(gpu=Gpu(name="H900")), Runtimes(), "vllm")
    assert refusal.value.detail.startswith("no GPU is known as 'H900': give its memory_mb, or one of T4, V100-16GB, ")
