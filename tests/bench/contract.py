"""From the headers of a stored 400 B model to its contract: time and memory.

The headers are made as a publisher writes them, one file at a time, and read as download reads them out of S3; what is
kept of them goes to the contract with the model's config.json. `python -m tests.bench.contract MODEL` is the measured
process: it prints milliseconds of CPU (nothing waits here, and a busy machine changes them little) and the most memory in
MB that Python held for it.
"""

import json
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from functions.download import safetensors
from functions.serve import planning
from functions.serve.planning import Model
from functions.serve.requests import Gpu, ServeOptions
from functions.serve.runtimes import Runtimes
from tests.bench.report import Row

ROUNDS: Final = 9
AIM_MS: Final = 50
AIM_MB: Final = 64
_SHARD_BYTES: Final = 4_600_000_000
_HALF: Final = 2

Tensor = tuple[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Published:
    """A model as its publisher describes it: config.json, and the tensors of one layer and of the rest."""

    title: str
    config: Mapping[str, Any]
    experts: int

    def tensors(self) -> Iterator[Tensor]:
        """All tensors, in the order of the files."""
        config = self.config
        hidden, vocabulary = config["hidden_size"], config["vocab_size"]
        yield "model.embed_tokens.weight", (vocabulary, hidden)
        for layer in range(config["num_hidden_layers"]):
            for name, shape in self._layer(hidden):
                yield f"model.layers.{layer}.{name}.weight", shape
        yield "model.norm.weight", (hidden,)
        yield "lm_head.weight", (vocabulary, hidden)

    def _layer(self, hidden: int) -> Iterator[Tensor]:
        queries = self.config["num_attention_heads"] * 128
        keys = self.config["num_key_value_heads"] * 128
        yield from (("input_layernorm", (hidden,)), ("post_attention_layernorm", (hidden,)))
        yield from (("self_attn.q_proj", (queries, hidden)), ("self_attn.o_proj", (hidden, queries)))
        yield from (("self_attn.k_proj", (keys, hidden)), ("self_attn.v_proj", (keys, hidden)))
        width = self.config["moe_intermediate_size" if self.experts else "intermediate_size"]
        for expert in [f"mlp.experts.{index}" for index in range(self.experts)] or ["mlp"]:
            yield from ((f"{expert}.gate_proj", (width, hidden)), (f"{expert}.up_proj", (width, hidden)))
            yield f"{expert}.down_proj", (hidden, width)

    def headers(self) -> Iterator[tuple[bytes, int]]:
        """Each file's header, and the bytes that follow it."""
        entries: dict[str, Any] = {}
        position = 0
        for name, shape in self.tensors():
            elements = shape[0] * (shape[1] if len(shape) > 1 else 1)
            entries[name] = {"dtype": "BF16", "shape": shape, "data_offsets": (position, position + _HALF * elements)}
            position += _HALF * elements
            if position > _SHARD_BYTES:
                yield (
                    json.dumps({"__metadata__": {"format": "pt"}, **entries}, separators=(",", ":")).encode(),
                    position,
                )
                entries, position = {}, 0
        yield json.dumps(entries, separators=(",", ":")).encode(), position


# Llama 3.1 405B and Qwen3-Coder 480B-A35B, as their publishers wrote them.
MODELS: Final[Mapping[str, Published]] = {
    "dense": Published(
        "405 B, dense",
        {
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": 16384,
            "intermediate_size": 53248,
            "max_position_embeddings": 131072,
            "num_attention_heads": 128,
            "num_hidden_layers": 126,
            "num_key_value_heads": 8,
            "vocab_size": 128256,
            "torch_dtype": "bfloat16",
        },
        experts=0,
    ),
    "mixture": Published(
        "480 B, 160 experts a layer",
        {
            "architectures": ["Qwen3MoeForCausalLM"],
            "head_dim": 128,
            "hidden_size": 6144,
            "intermediate_size": 8192,
            "max_position_embeddings": 262144,
            "moe_intermediate_size": 2560,
            "num_attention_heads": 96,
            "num_experts": 160,
            "num_experts_per_tok": 8,
            "num_hidden_layers": 62,
            "num_key_value_heads": 8,
            "vocab_size": 151936,
            "torch_dtype": "bfloat16",
        },
        experts=160,
    ),
}


def rows() -> list[Row]:
    """One row for each model: the median of fresh processes."""
    return [_row(name, model) for name, model in MODELS.items()]


def _row(name: str, model: Published) -> Row:
    command = [sys.executable, "-m", "tests.bench.contract", name]
    measured = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(ROUNDS)]
    read, decided = (statistics.median(one[part] for one in measured) for part in ("read_ms", "decided_ms"))
    peak = max(one["peak_mb"] for one in measured)
    counted = f"{measured[0]['files']} files, {measured[0]['tensors']:,} tensors"
    return Row(
        f"contract for the headers of {model.title} ({counted})",
        f"{read + decided:.1f} ms of CPU ({read:.1f} reading, {decided:.1f} deciding), {peak:.1f} MB",
        "-",
        f"{read + decided:.0f} ms, {peak:.0f} MB",
        f"<= {AIM_MS} ms, <= {AIM_MB} MB",
        read + decided <= AIM_MS and peak <= AIM_MB,
    )


def measure(model: Published) -> dict[str, float]:
    """Read every header and decide, twice: once for the time, once for the most memory that it held."""
    headers = list(model.headers())
    runtimes = Runtimes()
    runtimes.get("vllm")
    times = _contract(model, headers, runtimes)
    tracemalloc.start()
    _contract(model, headers, runtimes)
    largest = max(len(header) for header, _ in headers)
    peak = tracemalloc.get_traced_memory()[1] + largest
    return {**times, "files": len(headers), "tensors": sum(1 for _ in model.tensors()), "peak_mb": peak / 2**20}


def _contract(model: Published, headers: list[tuple[bytes, int]], runtimes: Runtimes) -> dict[str, float]:
    started = time.process_time()
    parameters: Counter[str] = Counter()
    for header, data_bytes in headers:
        parameters.update(safetensors.parse(header, data_bytes).parameters)
    read = time.process_time()
    weights = sum(len(header) + data_bytes for header, data_bytes in headers)
    metadata = {"config": model.config, "weights_bytes": weights, "parameters": dict(parameters)}
    options = ServeOptions(gpu=Gpu(name="H200", count=16))
    plan = planning.plan(Model("", model.title, "available", metadata), options, runtimes, "vllm")
    decided = time.process_time()
    if not plan.verdict.fits:
        raise RuntimeError(plan.verdict.reason)
    return {"read_ms": (read - started) * 1000, "decided_ms": (decided - read) * 1000}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(MODELS[sys.argv[1]])))
