"""The shape of a model as far as memory goes: layers, heads, cache, experts, context, from its `config.json`. Pure.

Called by the contract. Architectures of `families` give exact numbers. Any other falls back to a stated bound: every
attention head of every layer keeps its own keys and values of the whole context, which no architecture exceeds that
vLLM serves, whether its layers share a cache, look back over a window only or keep a state instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from functions.serve.cache import Layers
from functions.serve.families import FAMILIES, Family

# Bytes of one element, by the names that safetensors, config.json and vLLM's options use.
ELEMENT_BYTES: Final[Mapping[str, int]] = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "float32": 4,
    "float16": 2,
    "half": 2,
    "bfloat16": 2,
    "fp8": 1,
}
_HALF: Final = 2
# Where other families keep the same number; the first that is there counts.
_SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "intermediate_size": ("intermediate_size", "n_inner", "ffn_dim"),
    "num_attention_heads": ("num_attention_heads", "n_head", "num_heads"),
    "num_hidden_layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "num_key_value_heads": ("num_key_value_heads", "num_kv_heads", "n_head_kv"),
    "num_experts": ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"),
    "num_experts_per_tok": ("num_experts_per_tok", "num_experts_per_token", "top_k_experts"),
}
# The smallest of these is the longest context (vLLM: derive_max_model_len_and_key).
_CONTEXT: Final = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_sequence_length")
# A larger number is a lie, and would be slow to compute with: the deepest models have some 200 layers, the widest
# vocabularies a million words.
_MOST: Final = 1 << 32
_MOST_LAYERS: Final = 1024
_MOST_SCALING: Final = 1024
# vLLM's class for these starts counting positions behind the padding token (model_executor/models/roberta.py).
_OFFSET: Final = frozenset({"RobertaForMaskedLM", "RobertaModel", "XLMRobertaModel"})
# DeepSeek V3.2's indexer keeps its key as bytes, with a float32 scale for each 128 of them (models/deepseek_v2.py).
_INDEX_GROUP: Final = 128


class Unsizable(Exception):
    """config.json lacks what sizing needs; the message names the field."""


@dataclass(frozen=True, slots=True)
class Latent:
    """MLA's projections: keys and values are made from a latent vector of kv_rank and a rotary part that heads share."""

    kv_rank: int
    query_rank: int
    key: int
    rotary: int
    value: int


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture: how many there are, how many see a token, how wide each is, and the one that sees all tokens."""

    count: int
    per_token: int
    intermediate_size: int
    shared_size: int


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides memory. `assumptions` are sentences for people wherever a bound stands in for a fact.

    caches: empty for an encoder. max_position: None where the model does not say.
    """

    architecture: str
    layers: int
    hidden_size: int
    intermediate_size: int
    vocabulary: int
    attention_heads: int
    key_value_heads: int
    head_size: int
    max_position: int | None
    # Bytes of one element of activations and, unless asked otherwise, of the cache.
    element_bytes: int
    caches: tuple[Layers, ...]
    latent: Latent | None
    experts: Experts | None
    assumptions: tuple[str, ...]


def read(config: Mapping[str, Any], dtype: str = "auto") -> Shape:
    """Read a `config.json`. dtype: `auto` or what vLLM is told. Raises Unsizable naming the missing field."""
    name = architecture_name(config)
    family = FAMILIES.get(name)
    text = {**((family and family.defaults) or {}), **_text_part(config)}
    hidden, heads = _number(text, "hidden_size"), _number(text, "num_attention_heads")
    layers = _number(text, "num_hidden_layers")
    if layers > _MOST_LAYERS:
        raise Unsizable(f"config.json claims {layers} layers, and {_MOST_LAYERS} are the most that is believed")
    shape = Shape(
        architecture=name,
        layers=layers,
        hidden_size=hidden,
        # Four times the hidden size is what the transformer paper chose, and what configs without the field mean.
        intermediate_size=_optional(text, "intermediate_size") or 4 * hidden,
        vocabulary=_number(text, "vocab_size"),
        attention_heads=heads,
        key_value_heads=(_optional(text, "num_key_value_heads") or heads) if family else heads,
        head_size=_head_size(text, hidden, heads, known=family is not None),
        max_position=_max_position(name, text),
        element_bytes=loaded_element_bytes(text, dtype),
        caches=(),
        latent=_latent(text) if family and family.latent else None,
        experts=_experts(text),
        assumptions=tuple(_assumptions(name, text, config)),
    )
    return _with_caches(shape, text, family)


def architecture_name(config: Mapping[str, Any]) -> str:
    """The first of `architectures`, `unknown` without any."""
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else "unknown"


def loaded_element_bytes(config: Mapping[str, Any], dtype: str) -> int:
    """Bytes of an element once loaded. `auto` keeps half precision and halves float32, as vLLM 0.32 does."""
    if dtype != "auto":
        return ELEMENT_BYTES.get(dtype, _HALF)
    stored = ELEMENT_BYTES.get(str(config.get("dtype") or config.get("torch_dtype")), _HALF)
    return min(stored, _HALF)


def _with_caches(shape: Shape, config: Mapping[str, Any], family: Family | None) -> Shape:
    if family and family.encoder:
        return shape
    if shape.latent:
        return replace(shape, caches=tuple(_latent_layers(shape, shape.latent, config)))
    windowed = _windowed(config, family, shape.layers) if family else 0
    width = 2 * shape.head_size
    kinds = ((shape.layers - windowed, None), (windowed, _optional(config, "sliding_window")))
    layers = [Layers(count, shape.key_value_heads, width, window) for count, window in kinds if count]
    return replace(shape, caches=tuple(layers))


def _latent_layers(shape: Shape, latent: Latent, config: Mapping[str, Any]) -> list[Layers]:
    """One vector of a token for all heads; sparse attention keeps an index key beside it."""
    found = [Layers(shape.layers, 1, latent.kv_rank + latent.rotary)]
    index = _optional(config, "index_head_dim")
    if index:
        scales = index // _INDEX_GROUP * ELEMENT_BYTES["F32"]
        found.append(Layers(shape.layers, 1, index + scales, element_bytes=1))
    return found


def _windowed(config: Mapping[str, Any], family: Family, layers: int) -> int:
    """How many layers look back over a window only."""
    if not _optional(config, "sliding_window") or config.get("use_sliding_window") is False:
        return 0
    types = config.get("layer_types")
    if isinstance(types, list) and len(types) >= layers:
        return sum(kind == "sliding_attention" for kind in types[:layers])
    # What the class of `transformers` falls back to: max_window_layers 28 (Qwen), sliding_window_pattern 6 (Gemma 3).
    first = config.get("max_window_layers", 28) if config.get("use_sliding_window") is True else layers
    pattern = _optional(config, "sliding_window_pattern") or 6
    counts = {
        "all": layers,
        "alternate": -(-layers // 2),
        "asked": max(0, layers - first) if isinstance(first, int) else 0,
        "pattern": layers - layers // pattern,
    }
    return counts.get(family.windows, 0)


def _latent(config: Mapping[str, Any]) -> Latent:
    return Latent(
        kv_rank=_number(config, "kv_lora_rank"),
        query_rank=_optional(config, "q_lora_rank") or 0,
        key=_number(config, "qk_nope_head_dim"),
        rotary=_number(config, "qk_rope_head_dim"),
        value=_number(config, "v_head_dim"),
    )


def _experts(config: Mapping[str, Any]) -> Experts | None:
    count, per_token = _optional(config, "num_experts"), _optional(config, "num_experts_per_tok")
    width = _optional(config, "moe_intermediate_size") or _optional(config, "intermediate_size")
    if not (count and per_token and width):
        return None
    shared = width * (_optional(config, "n_shared_experts") or 0)
    return Experts(count, per_token, width, _optional(config, "shared_expert_intermediate_size") or shared)


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Models that also see keep their language part under `text_config`."""
    nested = config.get("text_config")
    return {**config, **nested} if isinstance(nested, Mapping) else config


def _head_size(config: Mapping[str, Any], hidden: int, heads: int, *, known: bool) -> int:
    derived = -(-hidden // heads)
    stated = _optional(config, "head_dim")
    if known:
        return stated or derived
    return max(stated or 0, derived)


def _max_position(name: str, config: Mapping[str, Any]) -> int | None:
    """Scaled rotary positions are already in the field, but for the two kinds that only multiply."""
    stated = [number for key in _CONTEXT if (number := _optional(config, key))]
    if not stated:
        return None
    scaling = config.get("rope_scaling")
    if isinstance(scaling, Mapping) and (scaling.get("rope_type") or scaling.get("type")) in {"linear", "dynamic"}:
        factor = scaling.get("factor")
        grown = isinstance(factor, int | float) and 1 < factor <= _MOST_SCALING and not name.startswith("Gemma3")
        return int(min(stated) * factor) if grown and factor else min(stated)
    offset = (_optional(config, "pad_token_id") or 0) + 1 if name in _OFFSET else 0
    return max(1, min(stated) - offset)


def _assumptions(name: str, config: Mapping[str, Any], whole: Mapping[str, Any]) -> list[str]:
    found = []
    if name not in FAMILIES:
        found.append(
            f"{name} is not a known architecture: every attention head of every layer is counted as keeping its own cache"
        )
    if "vision_config" in whole or "audio_config" in whole:
        found.append("pictures and sound take activations of their own, which are not counted")
    if _optional(config, "num_nextn_predict_layers"):
        found.append("layers that predict several tokens are counted although vLLM leaves them out")
    return found


def _number(config: Mapping[str, Any], name: str) -> int:
    value = _optional(config, name)
    if value is None:
        raise Unsizable(f"config.json has no usable {name!r}")
    return value


def _optional(config: Mapping[str, Any], name: str) -> int | None:
    """The first positive whole number under any of its names that can be believed."""
    for key in _SYNONYMS.get(name, (name,)):
        value = config.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST:
            return value
    return None
