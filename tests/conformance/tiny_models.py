"""Tiny models of five architectures, written as publishers write them: config.json and one safetensors file of zeros."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.numpy import save_file

Tensor = tuple[str, tuple[int, ...]]

_COMMON: Final[Mapping[str, Any]] = {
    "hidden_size": 256,
    "intermediate_size": 1024,
    "max_position_embeddings": 8192,
    "num_attention_heads": 8,
    "rms_norm_eps": 1e-5,
    "torch_dtype": "bfloat16",
    "vocab_size": 32768,
}
LLAMA: Final[Mapping[str, Any]] = {
    **_COMMON,
    "architectures": ["LlamaForCausalLM"],
    "hidden_act": "silu",
    "model_type": "llama",
    "num_hidden_layers": 6,
    "num_key_value_heads": 2,
}
MISTRAL: Final[Mapping[str, Any]] = {
    **LLAMA,
    "architectures": ["MistralForCausalLM"],
    "model_type": "mistral",
    "num_key_value_heads": 4,
    "sliding_window": 512,
}
# Fourteen layers, of which every sixth keeps the whole context: groups of two, with padding nowhere.
GEMMA3: Final[Mapping[str, Any]] = {
    **_COMMON,
    "architectures": ["Gemma3ForCausalLM"],
    "head_dim": 64,
    "hidden_activation": "gelu_pytorch_tanh",
    "model_type": "gemma3_text",
    "num_hidden_layers": 14,
    "num_key_value_heads": 2,
    "query_pre_attn_scalar": 64,
    "sliding_window": 512,
    "sliding_window_pattern": 6,
    "tie_word_embeddings": True,
}
# The latent vector has the size of the real ones: vLLM's CPU kernel is compiled for no other.
DEEPSEEK: Final[Mapping[str, Any]] = {
    **_COMMON,
    "architectures": ["DeepseekV2ForCausalLM"],
    "first_k_dense_replace": 4,
    "hidden_act": "silu",
    "kv_lora_rank": 512,
    "model_type": "deepseek_v2",
    "moe_intermediate_size": 128,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 4,
    "num_key_value_heads": 8,
    "q_lora_rank": None,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
}

BERT: Final[Mapping[str, Any]] = {
    **_COMMON,
    "architectures": ["BertModel"],
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "model_type": "bert",
    "num_hidden_layers": 6,
    "torch_dtype": "float32",
    "type_vocab_size": 2,
}


@dataclass(frozen=True, slots=True)
class Stored:
    """A model in a folder, and what download writes of it into model_metadata."""

    folder: Path
    metadata: Mapping[str, Any]


def write(config: Mapping[str, Any], folder: Path) -> Stored:
    """Write the model. Gemma's and BERT's weights are float32, which vLLM halves; the others have half precision."""
    wide = config["model_type"] in {"bert", "gemma3_text"}
    listed = _encoder(config) if config["model_type"] == "bert" else _tensors(config)
    tensors = {name: np.zeros(shape, np.float32 if wide else np.float16) for name, shape in listed}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    count = sum(tensor.size for tensor in tensors.values())
    weights = (folder / "model.safetensors").stat().st_size
    parameters = {"F32" if wide else "F16": count}
    return Stored(folder, {"config": dict(config), "weights_bytes": weights, "parameters": parameters})


def _tensors(config: Mapping[str, Any]) -> Iterator[Tensor]:
    hidden, width = config["hidden_size"], config["intermediate_size"]
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    yield "model.norm.weight", (hidden,)
    if not config.get("tie_word_embeddings"):
        yield "lm_head.weight", (config["vocab_size"], hidden)
    attention = _latent_attention if "kv_lora_rank" in config else _attention
    for layer in range(config["num_hidden_layers"]):
        parts = [*attention(config), ("mlp.down_proj", (hidden, width))]
        parts += [(f"mlp.{name}_proj", (width, hidden)) for name in ("gate", "up")]
        for name, shape in [*parts, *((f"{norm}_layernorm", (hidden,)) for norm in _norms(config))]:
            yield f"model.layers.{layer}.{name}.weight", shape


def _norms(config: Mapping[str, Any]) -> list[str]:
    around = ["pre_feedforward", "post_feedforward"] if config["model_type"] == "gemma3_text" else []
    return ["input", "post_attention", *around]


def _attention(config: Mapping[str, Any]) -> Iterator[Tensor]:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    size = config.get("head_dim", hidden // heads)
    for name, count in (("q", heads), ("k", config["num_key_value_heads"]), ("v", config["num_key_value_heads"])):
        yield f"self_attn.{name}_proj", (count * size, hidden)
    yield "self_attn.o_proj", (hidden, heads * size)
    if config["model_type"] == "gemma3_text":
        yield from (("self_attn.q_norm", (size,)), ("self_attn.k_norm", (size,)))


def _latent_attention(config: Mapping[str, Any]) -> Iterator[Tensor]:
    hidden, heads, rank = config["hidden_size"], config["num_attention_heads"], config["kv_lora_rank"]
    key, rotary, value = config["qk_nope_head_dim"], config["qk_rope_head_dim"], config["v_head_dim"]
    yield "self_attn.q_proj", (heads * (key + rotary), hidden)
    yield "self_attn.kv_a_proj_with_mqa", (rank + rotary, hidden)
    yield "self_attn.kv_a_layernorm", (rank,)
    yield "self_attn.kv_b_proj", (heads * (key + value), rank)
    yield "self_attn.o_proj", (hidden, heads * value)


def _encoder(config: Mapping[str, Any]) -> Iterator[Tensor]:
    """BERT: every projection and norm has a bias."""
    hidden, width = config["hidden_size"], config["intermediate_size"]
    yield "embeddings.word_embeddings.weight", (config["vocab_size"], hidden)
    yield "embeddings.position_embeddings.weight", (config["max_position_embeddings"], hidden)
    yield "embeddings.token_type_embeddings.weight", (config["type_vocab_size"], hidden)
    shapes: dict[str, tuple[int, ...]] = {"embeddings.LayerNorm": (hidden,), "pooler.dense": (hidden, hidden)}
    for layer in range(config["num_hidden_layers"]):
        square = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
        parts = dict.fromkeys(square, (hidden, hidden))
        parts |= {"intermediate.dense": (width, hidden), "output.dense": (hidden, width)}
        norms = dict.fromkeys(("attention.output.LayerNorm", "output.LayerNorm"), (hidden,))
        shapes |= {f"encoder.layer.{layer}.{name}": shape for name, shape in {**parts, **norms}.items()}
    for name, shape in shapes.items():
        yield f"{name}.weight", shape
        yield f"{name}.bias", shape[:1]
