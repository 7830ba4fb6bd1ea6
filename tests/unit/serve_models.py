"""Model configurations as their publishers wrote them, cut down to what decides memory. Shared by the tests of serve."""

from typing import Any, Final

from functions.serve.ask import Ask, ModelFacts
from functions.serve.planning import Model

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
MISTRAL_7B: Final[dict[str, Any]] = {
    "architectures": ["MistralForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "sliding_window": 4096,
    "vocab_size": 32000,
    "torch_dtype": "bfloat16",
}
MIXTRAL_8X7B: Final[dict[str, Any]] = {
    **MISTRAL_7B,
    "architectures": ["MixtralForCausalLM"],
    "num_experts_per_tok": 2,
    "num_local_experts": 8,
    "sliding_window": None,
}
GEMMA2_9B: Final[dict[str, Any]] = {
    "architectures": ["Gemma2ForCausalLM"],
    "head_dim": 256,
    "hidden_size": 3584,
    "intermediate_size": 14336,
    "max_position_embeddings": 8192,
    "num_attention_heads": 16,
    "num_hidden_layers": 42,
    "num_key_value_heads": 8,
    "sliding_window": 4096,
    "vocab_size": 256000,
    "torch_dtype": "bfloat16",
}
# Its publisher leaves heads, vocabulary and context of the small ones to transformers' class.
GEMMA3_4B: Final[dict[str, Any]] = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "text_config": {
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "sliding_window": 1024,
    },
    "torch_dtype": "bfloat16",
    "vision_config": {"hidden_size": 1152},
}
GEMMA3_27B: Final[dict[str, Any]] = {
    **GEMMA3_4B,
    "text_config": {
        "head_dim": 128,
        "hidden_size": 5376,
        "intermediate_size": 21504,
        "num_attention_heads": 32,
        "num_hidden_layers": 62,
        "num_key_value_heads": 16,
        "sliding_window": 1024,
    },
}
PHI_2: Final[dict[str, Any]] = {
    "architectures": ["PhiForCausalLM"],
    "hidden_size": 2560,
    "intermediate_size": 10240,
    "max_position_embeddings": 2048,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "vocab_size": 51200,
    "torch_dtype": "float16",
}
PHI_3_MINI: Final[dict[str, Any]] = {
    **PHI_2,
    "architectures": ["Phi3ForCausalLM"],
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "max_position_embeddings": 4096,
    "num_key_value_heads": 32,
    "sliding_window": 2047,
    "vocab_size": 32064,
}
QWEN3_30B_A3B: Final[dict[str, Any]] = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "head_dim": 128,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "max_position_embeddings": 40960,
    "max_window_layers": 48,
    "moe_intermediate_size": 768,
    "num_attention_heads": 32,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "sliding_window": None,
    "use_sliding_window": False,
    "vocab_size": 151936,
    "torch_dtype": "bfloat16",
}
DEEPSEEK_V2_LITE: Final[dict[str, Any]] = {
    "architectures": ["DeepseekV2ForCausalLM"],
    "hidden_size": 2048,
    "intermediate_size": 10944,
    "kv_lora_rank": 512,
    "max_position_embeddings": 163840,
    "moe_intermediate_size": 1408,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_attention_heads": 16,
    "num_experts_per_tok": 6,
    "num_hidden_layers": 27,
    "num_key_value_heads": 16,
    "q_lora_rank": None,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "vocab_size": 102400,
    "torch_dtype": "bfloat16",
}
DEEPSEEK_V3: Final[dict[str, Any]] = {
    **DEEPSEEK_V2_LITE,
    "architectures": ["DeepseekV3ForCausalLM"],
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_attention_heads": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 61,
    "num_key_value_heads": 128,
    "num_nextn_predict_layers": 1,
    "q_lora_rank": 1536,
    "quantization_config": {"fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]},
    "vocab_size": 129280,
}
GPT_OSS_20B: Final[dict[str, Any]] = {
    "architectures": ["GptOssForCausalLM"],
    "head_dim": 64,
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "max_position_embeddings": 131072,
    "num_attention_heads": 64,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 24,
    "num_key_value_heads": 8,
    "num_local_experts": 32,
    "quantization_config": {"quant_method": "mxfp4"},
    "sliding_window": 128,
    "vocab_size": 201088,
}
BERT_BASE: Final[dict[str, Any]] = {
    "architectures": ["BertModel"],
    "hidden_size": 768,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "vocab_size": 30522,
    "torch_dtype": "float32",
}
XLM_ROBERTA: Final[dict[str, Any]] = {
    **BERT_BASE,
    "architectures": ["XLMRobertaModel"],
    "max_position_embeddings": 514,
    "pad_token_id": 1,
    "vocab_size": 250002,
}
STRANGER: Final[dict[str, Any]] = {**LLAMA_3_8B, "architectures": ["StrangerForCausalLM"]}


# Records of stored models, and the metadata of a GGUF file.
MODEL: Final = Model(
    "11111111-1111-4111-8111-111111111111",
    "SmolLM2-135M-Instruct",
    "available",
    {"config": SMOLLM2, "weights_bytes": 269_030_016, "parameters": {"BF16": 134_515_008}},
)

EMBEDDER: Final = Model(
    "22222222-2222-4222-8222-222222222222",
    "bge-base",
    "available",
    {"config": BERT_BASE, "weights_bytes": 437_951_328, "parameters": {"F32": 109_482_240}, "format": "safetensors"},
)

GGUF: Final = {
    "general.architecture": "llama",
    "llama.attention.head_count": 9,
    "llama.attention.head_count_kv": 3,
    "llama.block_count": 30,
    "llama.context_length": 8192,
    "llama.embedding_length": 576,
    "llama.feed_forward_length": 1536,
    "tokenizer.ggml.tokens": 49152,
}


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
