"""The architectures whose memory is known exactly, by the name in `architectures`: a table, read by `architecture`.

A further one needs a line here. What is not in the table is sized by a bound that the verdict states.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

# Which layers look back over `sliding_window` tokens only, where config.json has no `layer_types`:
#   all: every layer, if there is a window (Mistral, Phi-3; vLLM: engine/arg_utils.py, CacheConfig.sliding_window)
#   asked: as `all`, but only with use_sliding_window and from max_window_layers on (Qwen)
#   alternate: every second, beginning with the first (Gemma 2, gpt-oss)
#   pattern: all but each `sliding_window_pattern`th (Gemma 3)
Windows = Literal["none", "all", "asked", "alternate", "pattern"]


@dataclass(frozen=True, slots=True)
class Family:
    """encoder: attention looks both ways and keeps nothing. latent: MLA, one vector instead of keys and values.

    defaults: fields that the publisher's own config.json leaves to the class of `transformers`.
    """

    windows: Windows = "none"
    encoder: bool = False
    latent: bool = False
    defaults: Mapping[str, Any] | None = None


_PLAIN: Final = Family()
_WINDOWED: Final = Family("all")
_QWEN: Final = Family("asked")
_ENCODER: Final = Family(encoder=True)
_LATENT: Final = Family(latent=True)
_GEMMA3: Final = Family(
    "pattern",
    # transformers 5.19, Gemma3TextConfig: the text_config of Gemma 3's 4, 12 and 27 B leaves these out.
    defaults={
        "head_dim": 256,
        "max_position_embeddings": 131072,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "sliding_window": 4096,
        "vocab_size": 262208,
    },
)

FAMILIES: Final[Mapping[str, Family]] = {
    "BertForMaskedLM": _ENCODER,
    "BertModel": _ENCODER,
    "DeepseekV2ForCausalLM": _LATENT,
    "DeepseekV32ForCausalLM": _LATENT,
    "DeepseekV3ForCausalLM": _LATENT,
    "Gemma2ForCausalLM": Family("alternate", defaults={"head_dim": 256}),
    "Gemma3ForCausalLM": _GEMMA3,
    "Gemma3ForConditionalGeneration": _GEMMA3,
    "GemmaForCausalLM": Family(defaults={"head_dim": 256}),
    "GptOssForCausalLM": Family("alternate"),
    "LlamaForCausalLM": _WINDOWED,
    "LlamaModel": _WINDOWED,
    "Mistral3ForConditionalGeneration": _WINDOWED,
    "MistralForCausalLM": _WINDOWED,
    "MistralModel": _WINDOWED,
    "MixtralForCausalLM": _WINDOWED,
    "ModernBertModel": _ENCODER,
    "NomicBertModel": _ENCODER,
    "Phi3ForCausalLM": _WINDOWED,
    "PhiForCausalLM": _PLAIN,
    "Qwen2ForCausalLM": _QWEN,
    "Qwen2Model": _QWEN,
    "Qwen2MoeForCausalLM": _QWEN,
    "Qwen3ForCausalLM": _QWEN,
    "Qwen3Model": _QWEN,
    "Qwen3MoeForCausalLM": _QWEN,
    "RobertaForMaskedLM": _ENCODER,
    "RobertaModel": _ENCODER,
    "XLMRobertaModel": _ENCODER,
}

# What a model does, by the end of its architecture's name; the first that matches (vLLM: _SUFFIX_TO_DEFAULTS).
Kind = Literal["generate", "embed", "classify"]
_KINDS: Final[tuple[tuple[str, Kind], ...]] = (
    ("ForCausalLM", "generate"),
    ("ForConditionalGeneration", "generate"),
    ("LMHeadModel", "generate"),
    ("ForMaskedLM", "embed"),
    ("Classification", "classify"),
    ("ForTextEncoding", "embed"),
    ("Model", "embed"),
)


def kind(architecture: str, *, embeds: bool) -> Kind:
    """embeds: the model's own files say that it makes embeddings, which decoders can as well. Unknown ones generate."""
    if embeds:
        return "embed"
    return next((does for suffix, does in _KINDS if architecture.endswith(suffix)), "generate")
