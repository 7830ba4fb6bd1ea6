"""The resource contract: numbers computed by hand, refusals with a way out."""

from dataclasses import replace
from typing import Any

import pytest

from functions.serve import architecture, contract, sizing
from functions.serve.contract import Nearest, Split
from functions.serve.sizing import Ask, ModelFacts
from tests.unit.serve_models import (
    LLAMA_3_8B,
    LLAMA_3_8B_FACTS,
    QWEN2_7B,
    QWEN3_0_6B,
    SMOLLM2,
    SMOLLM2_FACTS,
    STRANGER,
    cpu,
    facts,
    gpu,
)

# 2 (keys and values) x layers x key-value heads x head size x 2 bytes.
CACHE_PER_TOKEN = [
    pytest.param(SMOLLM2, 2 * 30 * 3 * 64 * 2, id="SmolLM2: 23,040 bytes"),
    pytest.param(LLAMA_3_8B, 2 * 32 * 8 * 128 * 2, id="Llama 3 8B: 131,072 bytes"),
    pytest.param(QWEN2_7B, 2 * 28 * 4 * 128 * 2, id="Qwen2 7B: 57,344 bytes"),
    pytest.param(QWEN3_0_6B, 2 * 28 * 8 * 128 * 2, id="Qwen3 0.6B: head_dim counts, 114,688 bytes"),
    pytest.param(STRANGER, 2 * 32 * 32 * 128 * 2, id="unknown: as if every head had its own, 524,288 bytes"),
]


@pytest.mark.parametrize(("config", "expected"), CACHE_PER_TOKEN)
def test_cache_per_token(config: dict[str, Any], expected: int) -> None:
    """Grouped-query attention is counted by its key-value heads; an unknown architecture by all heads."""
    assert architecture.read(config).cache_bytes_per_token(1, 2) == expected


@pytest.mark.parametrize(("devices", "expected"), [(1, 131072), (4, 32768), (8, 16384), (16, 16384)])
def test_devices_share_heads_until_each_has_one(devices: int, expected: int) -> None:
    """With more devices than key-value heads every device keeps a copy of one."""
    assert architecture.read(LLAMA_3_8B).cache_bytes_per_token(devices, 2) == expected


WEIGHTS = [
    pytest.param(facts(SMOLLM2, 1000), "auto", 2000, id="half precision stays"),
    pytest.param(facts(SMOLLM2, 1000, "F32"), "auto", 2000, id="float32 is halved"),
    pytest.param(facts(SMOLLM2, 1000), "float32", 4000, id="float32 on request"),
    pytest.param(ModelFacts(SMOLLM2, 1500, {"U8": 1000, "BF16": 250}), "auto", 1500, id="packed weights as stored"),
    pytest.param(ModelFacts(SMOLLM2, 1234, {}), "auto", 1234, id="nothing counted: the files' size"),
]


@pytest.mark.parametrize(("model", "dtype", "expected"), WEIGHTS)
def test_weights_count_as_loaded(model: ModelFacts, dtype: str, expected: int) -> None:
    """The precision that vLLM loads decides, not the one on disk."""
    element = architecture.read(model.config, dtype).element_bytes
    assert sizing.loaded_weights(model, element) == expected


def test_smollm2_on_a_laptop() -> None:
    """Each part, rounded up to a whole MB.

    134,515,008 x 2 bytes; eight requests of 4,096 tokens at 23,040 bytes; 2,048 x (2 x 1,536 + 4 x 576) x 2 bytes and
    8 x 49,152 x 8 bytes; 1,000 MB of engine.
    """
    verdict = contract.assess(SMOLLM2_FACTS, cpu(4096))
    assert verdict.split == Split(weights_mb=257, kv_cache_mb=720, activations_mb=24, overhead_mb=1000)


def test_the_cache_is_what_running_requests_can_use() -> None:
    """On a CPU memory that no request can ever touch is not taken."""
    verdict = contract.assess(SMOLLM2_FACTS, cpu(16384))
    assert (verdict.kv_tokens, verdict.kv_cache_bytes) == (8 * 4096, 8 * 4096 * 23040)


def test_less_memory_means_less_cache() -> None:
    """What is left beside weights, activations and engine is cut into whole blocks of 128 tokens."""
    verdict = contract.assess(SMOLLM2_FACTS, cpu(1500))
    # 1500 - 1000 - (269,030,016 + 22,020,096 + 3,145,728) / 2**20 = 219.4 MB: 78 blocks of 2.8125 MB.
    assert (verdict.fits, verdict.kv_tokens) == (True, 78 * 128)


def test_a_shorter_context_is_chosen_when_nobody_asked_for_one() -> None:
    """Room for 8 blocks serves 1,024 tokens instead of refusing."""
    verdict = contract.assess(SMOLLM2_FACTS, cpu(1305))
    assert (verdict.fits, verdict.max_model_len) == (True, 1024)


def test_a_context_that_was_asked_for_is_not_shortened() -> None:
    """The refusal names every part, what may be used, and both ways out."""
    verdict = contract.assess(SMOLLM2_FACTS, cpu(1305, max_model_len=8192))
    assert verdict.fits is False
    assert verdict.reason == (
        "1461 MB are needed for 1 x 8192 tokens: weights 257, KV cache 180, activations 24, runtime 1000, "
        "files while starting 0; 1305 MB of the 1305 MB asked for can be used. "
        "What would fit: memory_mb 1536 or max_model_len 1024"
    )


REFUSALS = [
    pytest.param(cpu(1024), Nearest(None, 1536), id="not even weights and engine"),
    pytest.param(cpu(1305, max_model_len=8192), Nearest(1024, 1536), id="a shorter context"),
    pytest.param(cpu(2048, max_model_len=4096, concurrency=64), Nearest(512, 7168), id="too many at once: 64 x 90 MB"),
    pytest.param(cpu(1500, staged=True), Nearest(None, 1792), id="the files are held beside the weights"),
    pytest.param(cpu(65536, max_model_len=9000), Nearest(8192, 65536), id="longer than the model was trained for"),
]


@pytest.mark.parametrize(("ask", "expected"), REFUSALS)
def test_a_refusal_names_the_nearest_that_fits(ask: Ask, expected: Nearest) -> None:
    """And what it names does fit."""
    verdict = contract.assess(SMOLLM2_FACTS, ask)
    assert (verdict.fits, verdict.nearest) == (False, expected)
    nearest = replace(ask, memory_mb=expected.memory_mb, max_model_len=expected.max_model_len or ask.max_model_len)
    assert contract.assess(SMOLLM2_FACTS, nearest).fits


def test_llama_8b_on_an_l4() -> None:
    """Of 90 % of an L4 weights, activations and CUDA leave 20,730.6 - 15,316.5 - 426.5 - 2,048 MB: 1,469 blocks of 2 MB."""
    verdict = contract.assess(LLAMA_3_8B_FACTS, gpu(23034))
    assert (verdict.fits, verdict.max_model_len, verdict.kv_tokens, verdict.tensor_parallel) == (
        True,
        16384,
        1469 * 16,
        1,
    )


PARALLEL = [
    pytest.param(gpu(23034, 4), 1, id="one is enough: the others stay free"),
    pytest.param(gpu(16384, 2), 2, id="weights alone fill a 16 GB card"),
    pytest.param(gpu(23034, 4, max_model_len=131072), 2, id="a long context needs a second"),
    pytest.param(gpu(23034, 4, tensor_parallel=4), 4, id="as asked for"),
]


@pytest.mark.parametrize(("ask", "expected"), PARALLEL)
def test_the_fewest_devices_that_hold_it(ask: Ask, expected: int) -> None:
    """Tensor parallelism grows only as far as the memory asks for."""
    verdict = contract.assess(LLAMA_3_8B_FACTS, ask)
    assert (verdict.fits, verdict.tensor_parallel) == (True, expected)


@pytest.mark.parametrize(("size", "count"), [(3, 4), (8, 4)])
def test_an_impossible_tensor_parallel_size_is_refused(size: int, count: int) -> None:
    """It has to divide the attention heads and be at most the devices."""
    verdict = contract.assess(LLAMA_3_8B_FACTS, gpu(80000, count, tensor_parallel=size))
    assert (verdict.fits, verdict.nearest) == (False, None)
    assert f"tensor_parallel_size {size} is not possible with {count} devices" in verdict.reason


def test_fp8_halves_the_cache() -> None:
    """The cache has its own precision."""
    verdict = contract.assess(LLAMA_3_8B_FACTS, gpu(23034, kv_cache_dtype="fp8"))
    assert verdict.kv_bytes_per_token == 65536


@pytest.mark.parametrize("missing", ["hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size"])
def test_a_config_that_cannot_be_sized_is_refused(missing: str) -> None:
    """A guess would be worse than a refusal that names the field."""
    config = {name: value for name, value in SMOLLM2.items() if name != missing}
    verdict = contract.assess(ModelFacts(config, 10, {}), cpu(4096))
    assert (verdict.fits, verdict.nearest) == (False, None)
    assert verdict.reason.endswith(f"config.json has no usable {missing!r}")


@pytest.mark.parametrize("value", [0, -1, "30", True, None, 1.5, [30]])
def test_a_lying_config_is_refused(value: object) -> None:
    """Numbers that are none never reach the arithmetic."""
    verdict = contract.assess(ModelFacts({**SMOLLM2, "num_hidden_layers": value}, 10, {}), cpu(4096))
    assert verdict.fits is False


def test_an_unknown_architecture_states_its_bound() -> None:
    """The verdict says what was assumed."""
    verdict = contract.assess(facts(STRANGER, 8_030_261_248), gpu(80000))
    assert verdict.assumptions == (
        "StrangerForCausalLM is not a known architecture: every attention head is counted as keeping its own cache",
    )


def test_the_language_part_of_a_model_that_sees_is_sized() -> None:
    """Multimodal configs keep it under `text_config`."""
    nested = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": SMOLLM2}
    assert architecture.read(nested).layers == 30
