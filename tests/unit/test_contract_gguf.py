"""GGUF metadata says what config.json says: the contract reads either."""

from typing import Any

import pytest

from functions.serve import architecture, contract, gguf
from functions.serve.ask import ModelFacts
from functions.serve.cache import Layers
from tests.unit.serve_models import cpu

LLAMA = {
    "general.architecture": "llama",
    "llama.attention.head_count": 32,
    "llama.attention.head_count_kv": 8,
    "llama.block_count": 32,
    "llama.context_length": 8192,
    "llama.embedding_length": 4096,
    "llama.feed_forward_length": 14336,
    "tokenizer.ggml.tokens": 128256,
}
GEMMA = {
    "general.architecture": "gemma2",
    "gemma2.attention.head_count": 16,
    "gemma2.attention.head_count_kv": 8,
    "gemma2.attention.key_length": 256,
    "gemma2.attention.sliding_window": 4096,
    "gemma2.block_count": 42,
    "gemma2.embedding_length": 3584,
    "gemma2.feed_forward_length": [14336] * 42,
    "gemma2.vocab_size": 256000,
}
DEEPSEEK = {
    "deepseek2.attention.head_count": 16,
    "deepseek2.attention.key_length": 192,
    "deepseek2.attention.kv_lora_rank": 512,
    "deepseek2.attention.value_length": 128,
    "deepseek2.block_count": 27,
    "deepseek2.embedding_length": 2048,
    "deepseek2.expert_count": 64,
    "deepseek2.expert_feed_forward_length": 1408,
    "deepseek2.expert_used_count": 6,
    "deepseek2.rope.dimension_count": 64,
    "deepseek2.vocab_size": 102400,
    "general.architecture": "deepseek2",
}

READ = [
    pytest.param(LLAMA, (Layers(32, 8, 256),), id="Llama 3 8B"),
    pytest.param(GEMMA, (Layers(21, 8, 512), Layers(21, 8, 512, 4096)), id="Gemma 2 9B, a number for each layer"),
    pytest.param(DEEPSEEK, (Layers(27, 1, 576),), id="DeepSeek V2 Lite"),
]


@pytest.mark.parametrize(("metadata", "caches"), READ)
def test_metadata_reads_like_a_config(metadata: dict[str, Any], caches: tuple[Layers, ...]) -> None:
    """Layers, heads and windows come out as from the publisher's config.json."""
    assert architecture.read(gguf.config(metadata)).caches == caches


def test_an_architecture_that_only_gguf_knows_is_bounded() -> None:
    """It is sized as unknown, and the verdict says so."""
    metadata = {key.replace("llama", "stranger"): value for key, value in LLAMA.items()}
    shape = architecture.read(gguf.config({**metadata, "general.architecture": "stranger"}))
    assert (shape.key_value_heads, len(shape.assumptions)) == (32, 1)


@pytest.mark.parametrize("metadata", [{}, {"general.architecture": 7}])
def test_metadata_without_an_architecture_is_refused(metadata: dict[str, Any]) -> None:
    """There is nothing to size."""
    verdict = contract.assess(ModelFacts(gguf.config(metadata), 10, {}), cpu(4096))
    assert (verdict.fits, verdict.nearest) == (False, None)
