"""What vLLM itself says of a model's memory: `python -m tests.conformance.vllm_report --model DIR [options of vLLM]`.

Prints one line of JSON. weights: bytes of the parameters once loaded, before the CPU build repacks them for its kernels,
and of what MLA derives from them. The rest is what the engine reports of its cache.
"""

import json
import os
import sys
from typing import Any

# One process, so that what the engine knows can be read; nothing is asked of the internet.
os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1")
DERIVED = ("W_UV", "W_UK_T")


def main(arguments: list[str]) -> dict[str, Any]:
    """Start the engine and read its numbers."""
    from vllm.engine.arg_utils import EngineArgs
    from vllm.model_executor.model_loader import base_loader
    from vllm.utils.argparse_utils import FlexibleArgumentParser
    from vllm.v1.engine.llm_engine import LLMEngine

    loaded: list[int] = []
    process = base_loader.process_weights_after_loading

    def counted(model: Any, *rest: Any) -> None:
        before = sum(parameter.nbytes for parameter in model.parameters())
        process(model, *rest)
        loaded.append(before + sum(_derived(module) for module in model.modules()))

    base_loader.process_weights_after_loading = counted
    parsed = EngineArgs.add_cli_args(FlexibleArgumentParser()).parse_args([*arguments, "--skip-tokenizer-init"])
    engine = LLMEngine.from_engine_args(EngineArgs.from_cli_args(parsed))
    cache = engine.vllm_config.cache_config
    return {
        "weights": loaded[0],
        "kv_tokens": cache.kv_cache_size_tokens,
        "concurrency": cache.kv_cache_max_concurrency,
        "blocks": cache.num_gpu_blocks,
        "block_tokens": cache.block_size,
        "groups": len(engine.engine_core.engine_core.scheduler.kv_cache_config.kv_cache_groups),
    }


def _derived(module: Any) -> int:
    return sum(tensor.nbytes for name in DERIVED if (tensor := getattr(module, name, None)) is not None)


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(main(sys.argv[1:])) + "\n")
    sys.stdout.flush()
    # The engine's threads are of no more use.
    os._exit(0)
