"""`python -m kn_model.hub.convert GGUF DIRECTORY`: a GGUF file as a sharded safetensors repository in bfloat16.

A process of its own because torch and transformers take 1 GB; started by `kn_model.hub.smollm2`.
"""

import os
import sys
from pathlib import Path
from typing import Final

# Three shards for SmolLM2 (269 MB): enough to exercise an index and parallel files.
SHARD_SIZE: Final = "100MB"


def main(source: Path, target: Path) -> None:
    """Write config, generation config, tokenizer with its chat template, and the weights, dequantised to bfloat16."""
    # Nothing here needs the network; without this the libraries would ask a hub that cannot be reached.
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig

    place = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    model = AutoModelForCausalLM.from_pretrained(
        **place, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    tokenizer = AutoTokenizer.from_pretrained(**place)
    model.save_pretrained(target, max_shard_size=SHARD_SIZE)
    tokenizer.save_pretrained(target)
    GenerationConfig.from_model_config(model.config).save_pretrained(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
