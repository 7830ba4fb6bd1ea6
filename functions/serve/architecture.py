"""The shape of a model as far as memory goes: layers, heads, context, read from its `config.json`. Pure.

Called by the contract. Known architectures give exact numbers. An unknown one falls back to a stated bound: every
attention head keeps its own keys and values, which no architecture exceeds that vLLM serves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

# Decoder families whose cache is 2 x layers x key-value heads x head size per token, and nothing else.
KNOWN: Final = frozenset(
    {
        "GemmaForCausalLM",
        "Gemma2ForCausalLM",
        "Gemma3ForCausalLM",
        "LlamaForCausalLM",
        "MistralForCausalLM",
        "MixtralForCausalLM",
        "Phi3ForCausalLM",
        "Qwen2ForCausalLM",
        "Qwen2MoeForCausalLM",
        "Qwen3ForCausalLM",
        "Qwen3MoeForCausalLM",
    }
)

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


class Unsizable(Exception):
    """config.json lacks what sizing needs; the message names the field."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides memory. `assumptions` are sentences for people wherever a bound stands in for a fact."""

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
    assumptions: tuple[str, ...]

    def cache_bytes_per_token(self, tensor_parallel: int, element_bytes: int) -> int:
        """Bytes that one token takes in the cache of one device.

        Heads are divided among devices; with fewer heads than devices each holds a copy of one (vLLM replicates).
        """
        heads = max(1, self.key_value_heads // tensor_parallel)
        return 2 * self.layers * heads * self.head_size * element_bytes


def read(config: Mapping[str, Any], dtype: str = "auto") -> Shape:
    """Read a `config.json`. dtype: `auto` or what vLLM is told. Raises Unsizable naming the missing field."""
    text = _text_part(config)
    names = config.get("architectures") or ["unknown"]
    hidden = _number(text, "hidden_size")
    heads = _number(text, "num_attention_heads")
    known = names[0] in KNOWN
    return Shape(
        architecture=str(names[0]),
        layers=_number(text, "num_hidden_layers"),
        hidden_size=hidden,
        # Four times the hidden size is what the transformer paper chose, and what configs without the field mean.
        intermediate_size=_optional(text, "intermediate_size") or 4 * hidden,
        vocabulary=_number(text, "vocab_size"),
        attention_heads=heads,
        key_value_heads=(_optional(text, "num_key_value_heads") or heads) if known else heads,
        head_size=_head_size(text, hidden, heads, known=known),
        max_position=_optional(text, "max_position_embeddings"),
        element_bytes=loaded_element_bytes(text, dtype),
        assumptions=tuple(_assumptions(str(names[0]), text, known=known)),
    )


def loaded_element_bytes(config: Mapping[str, Any], dtype: str) -> int:
    """Bytes of an element once loaded. `auto` keeps half precision and halves float32, as vLLM 0.32 does."""
    if dtype != "auto":
        return ELEMENT_BYTES.get(dtype, _HALF)
    stored = ELEMENT_BYTES.get(str(config.get("dtype") or config.get("torch_dtype")), _HALF)
    return min(stored, _HALF)


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


def _assumptions(name: str, config: Mapping[str, Any], *, known: bool) -> list[str]:
    found = []
    if not known:
        found.append(f"{name} is not a known architecture: every attention head is counted as keeping its own cache")
    if config.get("sliding_window") and config.get("use_sliding_window", True):
        found.append("layers with a sliding window are counted as if they kept the whole context")
    return found


def _number(config: Mapping[str, Any], name: str) -> int:
    value = _optional(config, name)
    if value is None:
        raise Unsizable(f"config.json has no usable {name!r}")
    return value


def _optional(config: Mapping[str, Any], name: str) -> int | None:
    value = config.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
