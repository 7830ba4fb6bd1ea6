"""The cache: what each architecture keeps of a token, and the blocks that vLLM makes of it, computed by hand."""

from typing import Any

import pytest

from functions.serve import architecture, cache
from functions.serve.cache import Pool
from tests.unit import serve_models as models

# Keys and values x heads x head size x 2 bytes, of one layer; layers that keep all; layers with a window.
KEPT = [
    pytest.param(models.SMOLLM2, 2 * 3 * 64 * 2, 30, 0, id="SmolLM2: grouped heads"),
    pytest.param(models.LLAMA_3_8B, 2 * 8 * 128 * 2, 32, 0, id="Llama 3 8B"),
    pytest.param(models.QWEN2_7B, 2 * 4 * 128 * 2, 28, 0, id="Qwen2 7B"),
    pytest.param(models.QWEN3_0_6B, 2 * 8 * 128 * 2, 28, 0, id="Qwen3 0.6B: head_dim counts"),
    pytest.param(models.QWEN3_30B_A3B, 2 * 4 * 128 * 2, 48, 0, id="Qwen3 30B-A3B: a mixture, its window off"),
    pytest.param(
        {**models.QWEN2_7B, "sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 21},
        2 * 4 * 128 * 2,
        21,
        7,
        id="Qwen2 with its window on: from max_window_layers",
    ),
    pytest.param(models.MISTRAL_7B, 2 * 8 * 128 * 2, 0, 32, id="Mistral 7B: every layer has the window"),
    pytest.param(models.MIXTRAL_8X7B, 2 * 8 * 128 * 2, 32, 0, id="Mixtral: none has"),
    pytest.param(models.GEMMA2_9B, 2 * 8 * 256 * 2, 21, 21, id="Gemma 2: every second, beginning with the first"),
    pytest.param({**models.GEMMA2_9B, "num_hidden_layers": 5}, 2 * 8 * 256 * 2, 2, 3, id="Gemma 2 with an odd number"),
    pytest.param(models.GEMMA3_27B, 2 * 16 * 128 * 2, 10, 52, id="Gemma 3 27B: all but every sixth"),
    pytest.param(models.GEMMA3_4B, 2 * 4 * 256 * 2, 5, 29, id="Gemma 3 4B: heads from transformers' defaults"),
    pytest.param(models.GPT_OSS_20B, 2 * 8 * 64 * 2, 12, 12, id="gpt-oss: as layer_types says"),
    pytest.param(models.PHI_2, 2 * 32 * 80 * 2, 32, 0, id="Phi 2: every head its own"),
    pytest.param(models.PHI_3_MINI, 2 * 32 * 96 * 2, 0, 32, id="Phi 3"),
    pytest.param(models.DEEPSEEK_V2_LITE, (512 + 64) * 2, 27, 0, id="DeepSeek V2: one latent vector"),
    pytest.param(models.DEEPSEEK_V3, (512 + 64) * 2, 61, 0, id="DeepSeek V3"),
    pytest.param(models.STRANGER, 2 * 32 * 128 * 2, 32, 0, id="unknown: as if every head had its own"),
]


@pytest.mark.parametrize(("config", "token_bytes", "whole", "windowed"), KEPT)
def test_what_a_layer_keeps(config: dict[str, Any], token_bytes: int, whole: int, windowed: int) -> None:
    """Bytes of a token, and which layers keep the whole context."""
    layers = architecture.read(config).caches
    assert {alike.token_bytes(1, 2) for alike in layers} == {token_bytes}
    assert (whole, windowed) == (
        sum(alike.count for alike in layers if alike.window is None),
        sum(alike.count for alike in layers if alike.window),
    )


@pytest.mark.parametrize("config", [models.BERT_BASE, models.XLM_ROBERTA])
def test_an_encoder_keeps_nothing(config: dict[str, Any]) -> None:
    """Attention in both directions has no past to come back to."""
    assert architecture.read(config).caches == ()


def test_sparse_attention_keeps_an_index_beside_the_latent_vector() -> None:
    """DeepSeek V3.2: 128 bytes and a float32 scale, whatever the precision of the cache."""
    config = {**models.DEEPSEEK_V3, "architectures": ["DeepseekV32ForCausalLM"], "index_head_dim": 128}
    assert [alike.token_bytes(8, 1) for alike in architecture.read(config).caches] == [576, 132]


@pytest.mark.parametrize(("devices", "expected"), [(1, 4096), (4, 1024), (8, 512), (16, 512)])
def test_devices_share_heads_until_each_has_one(devices: int, expected: int) -> None:
    """With more devices than key-value heads every device keeps a copy of one."""
    (layers,) = architecture.read(models.LLAMA_3_8B).caches
    assert layers.token_bytes(devices, 2) == expected


def test_every_device_keeps_the_latent_vector_whole() -> None:
    """There is no head to divide it by."""
    (layers,) = architecture.read(models.DEEPSEEK_V3).caches
    assert layers.token_bytes(8, 2) == 1152


def pool(config: dict[str, Any]) -> Pool:
    """One device's pool with blocks of 16 tokens of two bytes, and one batch of 2,048 tokens under way."""
    return cache.pool(architecture.read(config).caches, 1, 2, 16, 2048)


POOLS = [
    pytest.param(models.LLAMA_3_8B, 32 * 4096 * 16, [512], id="one kind: one group of all layers"),
    # The window's 4,095 older tokens and a batch of 2,048 are 384 blocks, and one for where the window begins.
    pytest.param(models.MISTRAL_7B, 32 * 4096 * 16, [385], id="all with a window"),
    pytest.param(models.GEMMA2_9B, 21 * 8192 * 16, [512, 385], id="two groups of 21"),
    # 52 layers in groups of 10 are 6 groups, the last with padding.
    pytest.param(models.GEMMA3_27B, 10 * 8192 * 16, [512] + 6 * [193], id="a group for each ten of 62"),
    pytest.param(models.GPT_OSS_20B, 12 * 2048 * 16, [512, 137], id="a window far below a batch"),
    pytest.param(models.DEEPSEEK_V3, 61 * 1152 * 16, [512], id="latent"),
]


@pytest.mark.parametrize(("config", "block_bytes", "blocks"), POOLS)
def test_the_pool_of_a_request_of_8192_tokens(config: dict[str, Any], block_bytes: int, blocks: list[int]) -> None:
    """As vLLM 0.32 groups the layers: every group takes its own blocks, and any block serves any group."""
    found = pool(config)
    assert (block_bytes, sum(blocks), len(blocks)) == (found.block_bytes, found.blocks(8192), len(found.windows))


def test_nearly_as_many_of_each_kind_are_padded_to_the_larger() -> None:
    """Thirteen and twelve layers are two groups of thirteen, not three of twelve."""
    types = ["sliding_attention", "full_attention"] * 12 + ["full_attention"]
    found = pool({**models.GPT_OSS_20B, "layer_types": types, "num_hidden_layers": 25})
    assert (found.block_bytes, len(found.windows)) == (13 * 2048 * 16, 2)


def test_a_window_takes_no_more_than_a_short_context() -> None:
    """The context itself is the bound, and the one block more that vLLM counts."""
    assert pool(models.MISTRAL_7B).blocks(160) == 11
