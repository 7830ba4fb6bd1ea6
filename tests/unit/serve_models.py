"""Model configurations as their publishers wrote them, cut down to what decides memory. Shared by the tests of serve."""

from typing import Any, Final

from functions.serve.sizing import Ask, ModelFacts

SMOLLM2: Final[dict[str, Any]] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 576,
    "intermediate_size": 1536,
    "max_position_embeddings": 8192,
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "torch_dtype": "bfloat16",
}
LLAMA_3_8B: Final[dict[str, Any]] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "torch_dtype": "bfloat16",
}
QWEN2_7B: Final[dict[str, Any]] = {
    "architectures": ["Qwen2ForCausalLM"],
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "max_position_embeddings": 32768,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "torch_dtype": "bfloat16",
}
# Its heads are larger than hidden_size / num_attention_heads: head_dim says so.
QWEN3_0_6B: Final[dict[str, Any]] = {
    "architectures": ["Qwen3ForCausalLM"],
    "head_dim": 128,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "max_position_embeddings": 40960,
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "vocab_size": 151936,
    "torch_dtype": "bfloat16",
}
STRANGER: Final[dict[str, Any]] = {**LLAMA_3_8B, "architectures": ["StrangerForCausalLM"]}


def facts(config: dict[str, Any], parameters: int, dtype: str = "BF16") -> ModelFacts:
    """A model of so many parameters, stored in one dtype of two bytes, or four for F32."""
    size = 4 if dtype == "F32" else 2
    return ModelFacts(config, parameters * size, {dtype: parameters})


SMOLLM2_FACTS: Final = facts(SMOLLM2, 134_515_008)
LLAMA_3_8B_FACTS: Final = facts(LLAMA_3_8B, 8_030_261_248)


def cpu(memory_mb: int, **changes: Any) -> Ask:
    """An ask for a CPU whose engine takes 1,000 MB by itself and batches so little that activations are small."""
    defaults: dict[str, Any] = {
        "overhead_mb": 1000,
        "utilization": 1.0,
        "block_tokens": 128,
        "max_num_seqs": 8,
        "max_num_batched_tokens": 2048,
        "usual_context": 4096,
    }
    return Ask(device="cpu", memory_mb=memory_mb, **{**defaults, **changes})


def gpu(memory_mb: int, count: int = 1, **changes: Any) -> Ask:
    """An ask for GPUs with vLLM's usual share of each."""
    defaults: dict[str, Any] = {
        "overhead_mb": 2048,
        "utilization": 0.9,
        "block_tokens": 16,
        "max_num_seqs": 256,
        "max_num_batched_tokens": 2048,
        "usual_context": 16384,
    }
    return Ask(device="gpu", memory_mb=memory_mb, count=count, **{**defaults, **changes})
