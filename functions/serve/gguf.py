"""A GGUF file's metadata as the `config.json` that the contract reads. Pure.

Keys are those of the GGUF specification (github.com/ggml-org/ggml, docs/gguf.md, "Standardized key-value pairs"),
prefixed with the architecture: `llama.block_count`. Scalars are as in the file; an array of numbers is a list, any other
array (the vocabulary) stands as its length.
"""

from collections.abc import Mapping
from typing import Any, Final

# general.architecture -> the class whose cache is alike.
_CLASSES: Final[Mapping[str, str]] = {
    "bert": "BertModel",
    "deepseek2": "DeepseekV2ForCausalLM",
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3": "Gemma3ForCausalLM",
    "gpt-oss": "GptOssForCausalLM",
    "llama": "LlamaForCausalLM",
    "nomic-bert": "NomicBertModel",
    "phi2": "PhiForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen2moe": "Qwen2MoeForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3moe": "Qwen3MoeForCausalLM",
}
_FIELDS: Final[Mapping[str, str]] = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
    "sliding_window": "attention.sliding_window",
    "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
    "kv_lora_rank": "attention.kv_lora_rank",
    "q_lora_rank": "attention.q_lora_rank",
    "qk_rope_head_dim": "rope.dimension_count",
    "vocab_size": "vocab_size",
}


def config(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The config.json that says the same; an empty one for metadata without an architecture."""
    kind = metadata.get("general.architecture")
    if not isinstance(kind, str):
        return {}
    found = {name: _largest(metadata.get(f"{kind}.{key}")) for name, key in _FIELDS.items()}
    found["vocab_size"] = found["vocab_size"] or _largest(metadata.get("tokenizer.ggml.tokens"))
    said = {name: value for name, value in found.items() if value is not None}
    return {
        "architectures": [_CLASSES.get(kind, kind)],
        "use_sliding_window": "sliding_window" in said,
        **said,
        **_latent(said, metadata, kind),
    }


def _largest(value: Any) -> Any:
    """Some keys hold a number for each layer: the largest is the bound."""
    return max(value, default=None) if isinstance(value, list) else value


def _latent(said: Mapping[str, Any], metadata: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """MLA: the heads' sizes, of which the file names the whole key, newer ones apart from what the cache holds."""
    if "kv_lora_rank" not in said:
        return {}
    found = {name: _largest(metadata.get(f"{kind}.attention.{name}_mla")) for name in ("key_length", "value_length")}
    key = found["key_length"] or said.get("head_dim")
    rotary = said.get("qk_rope_head_dim")
    value = found["value_length"] or _largest(metadata.get(f"{kind}.attention.value_length"))
    plain = key - rotary if isinstance(key, int) and isinstance(rotary, int) else None
    return {"qk_nope_head_dim": plain, "v_head_dim": value}
