"""Weights: by dtype and quantisation, and what every device of several holds of them."""

from typing import Any

import pytest

from functions.serve import architecture, parallel, quantization, sizing
from functions.serve.ask import ModelFacts
from functions.serve.quantization import Quantization
from tests.unit import serve_models as models
from tests.unit.serve_models import SMOLLM2, facts, gpu

DECLARED = [
    pytest.param({}, None, id="none"),
    pytest.param(
        {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}, Quantization("awq", 4, 128), id="AWQ"
    ),
    pytest.param(
        {"quant_method": "gptq", "bits": 8, "group_size": -1}, Quantization("gptq", 8, 0), id="GPTQ, a scale per row"
    ),
    pytest.param(
        {"quant_method": "fp8", "weight_block_size": [128, 128]}, Quantization("fp8", 8, 128), id="FP8 blocks"
    ),
    pytest.param({"quant_method": "fp8"}, Quantization("fp8", 8, 0), id="FP8, a scale per tensor"),
    pytest.param(
        {"quant_method": "bitsandbytes", "load_in_4bit": True}, Quantization("bitsandbytes", 4, 0), id="bitsandbytes"
    ),
    pytest.param(
        {
            "quant_method": "compressed-tensors",
            "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 128}}},
            "kv_cache_scheme": {"num_bits": 8, "type": "float"},
        },
        Quantization("compressed-tensors", 4, 128, 1),
        id="compressed-tensors with a calibrated cache",
    ),
    pytest.param({"quant_method": "mxfp4"}, Quantization("mxfp4", 4, 0), id="MXFP4"),
    pytest.param(
        {"quantization": {"quant_algo": "NVFP4", "group_size": 16, "kv_cache_quant_algo": "FP8"}},
        Quantization("modelopt_fp4", 4, 0, 1),
        id="ModelOpt",
    ),
    pytest.param({"quant_method": "new"}, Quantization("new", 8, 0), id="an unknown one"),
    pytest.param({"quant_method": "awq", "bits": "4", "group_size": None}, Quantization("awq", 8, 0), id="a lying one"),
    pytest.param({"quant_method": ["awq"], "bits": 10**400}, Quantization("['awq']", 8, 0), id="a boasting one"),
]


@pytest.mark.parametrize(("section", "expected"), DECLARED)
def test_what_a_config_declares(section: dict[str, Any], expected: Quantization | None) -> None:
    """The method as vLLM names it, bits, neighbours that share a scale, and the cache's own precision."""
    assert expected == quantization.read({"quantization_config": section} if section else {})


def test_a_nested_or_older_section_counts() -> None:
    """Models that also see keep it in text_config; compressed-tensors once called it compression_config."""
    section = {"quant_method": "compressed_tensors"}
    found = [quantization.read({"text_config": {"compression_config": section}}), quantization.read({})]
    assert found == [Quantization("compressed-tensors", 8, 0), None]


AWQ = {**SMOLLM2, "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}}
WEIGHTS = [
    pytest.param(facts(SMOLLM2, 1000), "auto", {"BF16": 2000}, id="half precision stays"),
    pytest.param(facts(SMOLLM2, 1000, "F32"), "auto", {"F32": 2000}, id="float32 is halved"),
    pytest.param(facts(SMOLLM2, 1000), "float32", {"BF16": 4000}, id="float32 on request"),
    pytest.param(
        ModelFacts(AWQ, 1900, {"I32": 200, "F16": 350, "F32": 100}),
        "auto",
        {"F16": 700, "F32": 400, "packed": 800},
        id="packed weights and their scales as stored",
    ),
    pytest.param(ModelFacts(SMOLLM2, 1234, {}), "auto", {"files": 1234}, id="nothing counted: the files' size"),
]


@pytest.mark.parametrize(("model", "dtype", "expected"), WEIGHTS)
def test_weights_count_as_loaded(model: ModelFacts, dtype: str, expected: dict[str, int]) -> None:
    """The precision that vLLM loads decides, not the one on disk; what is quantised is not touched."""
    shape = architecture.read(model.config, dtype)
    assert sizing.weights(model, shape, quantization.read(model.config)) == expected


def test_mxfp4_experts_are_padded_on_their_way() -> None:
    """2,880 becomes 2,944 one way and 3,072 the other; on two devices 1,440 becomes 1,536."""
    model = ModelFacts(models.GPT_OSS_20B, 2880 * 2880, {"U8": 2880 * 2880})
    shape, packed = architecture.read(model.config), quantization.read(model.config)
    found = [sizing.weights(model, shape, packed, size)["packed"] for size in (1, 2)]
    assert found == [2944 * 3072, 2 * 1536 * 3072]


OBSTACLES = [
    pytest.param(models.LLAMA_3_8B, 8, [], id="fits"),
    pytest.param(SMOLLM2, 2, ["9 attention heads", "3 key-value heads"], id="nine heads"),
    pytest.param(models.LLAMA_3_8B, 16, [], id="more devices than key-value heads: copies"),
    pytest.param(
        {**models.LLAMA_3_8B, "num_attention_heads": 24, "head_dim": 128},
        3,
        ["8 key-value heads", "an intermediate size of 14336"],
        id="three devices",
    ),
    pytest.param(
        {**models.BERT_BASE, "vocab_size": 50000},
        3,
        ["a vocabulary of 50000"],
        id="padded to 50,048, which 3 does not cut",
    ),
    pytest.param(models.DEEPSEEK_V3, 16, [], id="latent: key-value heads do not matter"),
    pytest.param(
        models.DEEPSEEK_V3, 32, ["an intermediate size of 2048 in scale groups of 128"], id="blocks of scales"
    ),
    pytest.param(models.QWEN3_30B_A3B, 8, [], id="96 wide experts without scales"),
    pytest.param(
        {**models.QWEN3_30B_A3B, "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}},
        4,
        ["an intermediate size of 768 in scale groups of 128"],
        id="192 wide experts in blocks of 128",
    ),
]


@pytest.mark.parametrize(("config", "size", "expected"), OBSTACLES)
def test_what_cannot_be_cut(config: dict[str, Any], size: int, expected: list[str]) -> None:
    """As vLLM's layers demand it: heads, key-value heads or copies of them, the vocabulary, whole groups of scales."""
    shape = architecture.read(config)
    assert expected == list(parallel.obstacles(shape, quantization.read(config), size))


# What is not cut, less the share of it that the division of the whole has given already.
WHOLE = [
    pytest.param(models.LLAMA_3_8B, 4, 0, id="everything is cut"),
    pytest.param(models.LLAMA_3_8B, 16, 8 * 2 * 128 * 4096 * 32 // 16, id="copied heads"),
    pytest.param(models.DEEPSEEK_V3, 8, 61 * 7168 * (1536 + 512 + 64 + 256) * 7 // 8, id="latent projections, router"),
]


@pytest.mark.parametrize(("config", "size", "expected"), WHOLE)
def test_what_every_device_holds_whole(config: dict[str, Any], size: int, expected: int) -> None:
    """Parameters beyond an equal share."""
    assert expected == parallel.replicated_parameters(architecture.read(config), size)


def test_latent_projections_are_kept_twice() -> None:
    """MLA unpacks the key and value projection for decoding: 61 x 128 x 512 x 256 elements of two bytes."""
    model = ModelFacts(models.DEEPSEEK_V3, 671 * 10**9, {"F8_E4M3": 671 * 10**9})
    shape, packed = architecture.read(model.config), quantization.read(model.config)
    found = sizing.budget(model, gpu(81559), shape, packed, 1)
    assert found.weights == 671 * 10**9 + 61 * 128 * 512 * 256 * 2
