"""vLLM's own arithmetic for caches of real models, without an engine: `python -m tests.conformance.vllm_pools < cases`.

A case is one device's layers, as JSON: count, heads, head_size, window or null, latent; beside them the pool's memory in
bytes, the context, the tokens in flight and the block's tokens. Prints what vLLM makes of each: blocks, and the tokens
that it would report. The specs are built as its attention layers build them (layers/attention), the grouping and the
capacity are `get_kv_cache_configs` and `get_kv_cache_capacity` of v1/core/kv_cache_utils.py.
"""

import json
import sys
from types import SimpleNamespace
from typing import Any


def main(cases: list[dict[str, Any]]) -> list[dict[str, int]]:
    """One answer for each case."""
    return [_pool(case) for case in cases]


def _pool(case: dict[str, Any]) -> dict[str, int]:
    from vllm.v1.core import kv_cache_utils, single_type_kv_cache_manager
    from vllm.v1.kv_cache_layout import KVCacheLayout

    # Imported for what it registers.
    del single_type_kv_cache_manager
    config = SimpleNamespace(
        attention_config=SimpleNamespace(hisparse_config=None),
        cache_config=SimpleNamespace(
            get_resolved_kv_cache_layout=lambda: KVCacheLayout.LBNHC,
            num_gpu_blocks_override=None,
            prefix_cache_retention_interval=None,
        ),
        max_in_flight_tokens=case["in_flight"],
        model_config=SimpleNamespace(max_model_len=case["context"], original_max_model_len=case["context"]),
        num_prefill_lookahead_tokens=0,
        parallel_config=SimpleNamespace(decode_context_parallel_size=1, tensor_parallel_size=1),
        scheduler_config=SimpleNamespace(disable_hybrid_kv_cache_manager=False),
        speculative_config=None,
    )
    specs = {f"layer.{index}": spec for index, spec in enumerate(_specs(case))}
    (made,) = kv_cache_utils.get_kv_cache_configs(config, [specs], [case["memory"]])
    tokens, _ = kv_cache_utils.get_kv_cache_capacity(config, made)
    return {"blocks": made.num_blocks, "kv_tokens": tokens, "groups": len(made.kv_cache_groups)}


def _specs(case: dict[str, Any]) -> list[Any]:
    """One spec for each layer."""
    import torch
    from vllm.v1.kv_cache_interface import FullAttentionSpec, MLAAttentionSpec, SlidingWindowSpec

    found = []
    for layer in case["layers"]:
        kind: Any = MLAAttentionSpec if layer["latent"] else FullAttentionSpec
        more: dict[str, Any] = {}
        if layer["window"]:
            kind, more = SlidingWindowSpec, {"sliding_window": layer["window"]}
        dtype = torch.uint8 if layer["element_bytes"] == 1 else torch.bfloat16
        spec = kind(
            block_size=case["block_tokens"],
            num_kv_heads=layer["heads"],
            head_size=layer["head_size"],
            dtype=dtype,
            **more,
        )
        found += [spec] * layer["count"]
    return found


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(main(json.load(sys.stdin))) + "\n")
