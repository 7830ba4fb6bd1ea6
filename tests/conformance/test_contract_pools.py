"""The cache's blocks and tokens of models too large to start here, against vLLM's own functions for them."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from functions.serve import architecture, cache
from functions.serve.cache import Layers, Pool
from tests.unit import serve_models as models

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
SPARSE = {**models.DEEPSEEK_V3, "architectures": ["DeepseekV32ForCausalLM"], "index_head_dim": 128}
ODD = {**models.GPT_OSS_20B, "layer_types": ["sliding_attention", "full_attention"] * 12 + ["full_attention"]}
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "Llama 3 8B": models.LLAMA_3_8B,
    "Qwen3 30B-A3B": models.QWEN3_30B_A3B,
    "Phi 2": models.PHI_2,
    "Mistral 7B": models.MISTRAL_7B,
    "Gemma 2 9B": models.GEMMA2_9B,
    "Gemma 3 4B": models.GEMMA3_4B,
    "Gemma 3 27B": models.GEMMA3_27B,
    "gpt-oss 20B": models.GPT_OSS_20B,
    "25 layers, 12 with a window": {**ODD, "num_hidden_layers": 25},
    "DeepSeek V3": models.DEEPSEEK_V3,
    "DeepSeek V3.2": SPARSE,
}
CONTEXTS = (2048, 8192, 8200)
DEVICES = (1, 2)
MEMORY = 16 * 2**30
BLOCK, IN_FLIGHT = 16, 4096


@dataclass(frozen=True)
class Case:
    """A model, on one of so many devices, with one context."""

    name: str
    devices: int
    context: int

    @property
    def layers(self) -> Sequence[Layers]:
        """As read from its config.json."""
        return architecture.read(CONFIGS[self.name]).caches

    @property
    def pool(self) -> Pool:
        """As we make it."""
        return cache.pool(self.layers, self.devices, 2, BLOCK, IN_FLIGHT)

    def as_json(self) -> dict[str, Any]:
        """For the script."""
        return {
            "block_tokens": BLOCK,
            "context": self.context,
            "in_flight": IN_FLIGHT,
            "layers": [_layer(layers, self.devices) for layers in self.layers],
            "memory": MEMORY,
        }


def _layer(layers: Layers, devices: int) -> dict[str, Any]:
    latent = layers.heads == 1
    return {
        "count": layers.count,
        "element_bytes": layers.element_bytes or 2,
        "head_size": layers.width if latent else layers.width // 2,
        "heads": max(1, layers.heads // devices),
        "latent": latent,
        "window": layers.window,
    }


CASES = [Case(name, devices, context) for name in CONFIGS for devices in DEVICES for context in CONTEXTS]


@pytest.fixture(scope="module")
def answers() -> Mapping[Case, Mapping[str, int]]:
    """vLLM's, all at once: importing it takes longer than computing them."""
    asked = json.dumps([case.as_json() for case in CASES])
    done = subprocess.run(
        [sys.executable, "-m", "tests.conformance.vllm_pools"],
        input=asked,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(CASES, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_blocks_and_tokens(answers: Mapping[Case, Mapping[str, int]], case: Case) -> None:
    """The same number of blocks and groups, and of tokens but for rounding."""
    pool = case.pool
    blocks = MEMORY // pool.block_bytes
    tokens = blocks * case.context // pool.blocks(case.context)
    assert answers[case] == {"blocks": blocks, "groups": len(pool.windows), "kv_tokens": pytest.approx(tokens, abs=1)}
