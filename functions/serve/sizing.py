"""How much memory a model takes on one device, by what is asked for: the arithmetic of the contract. Pure.

The sum, per device: weights + staging + cache + activations + runtime.
- weights: what the safetensors headers count, at the precision that vLLM loads them in; a share of them, and whole what
  is not cut (`parallel`);
- staging: the verified files in memory, which the engine holds beside the loaded weights until it is ready; only where
  the container's memory is the device's (CPU);
- cache: `cache.Pool`, in whole blocks, one of which vLLM keeps for itself;
- activations: the widest step of a layer for one batch, the rotary tables, and what sampling makes of the logits;
- runtime: what the engine takes without a model, a constant of the runtime file.
Activations and runtime are upper bounds; on a GPU none of them is a measurement of ours.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from functions.serve import cache, parallel
from functions.serve.architecture import ELEMENT_BYTES, Shape
from functions.serve.ask import MIB, Ask, ModelFacts
from functions.serve.cache import Pool
from functions.serve.quantization import Quantization

# Of one logit while sampling with top-k and top-p (vLLM 0.32, v1/sample/ops/topk_topp_sampler.py). On a CPU PyTorch
# sorts: logits, sorted logits, probabilities and their sum in float32, int64 indices. On a GPU kernels work in place:
# logits as computed and in float32, probabilities, what is drawn.
_SAMPLING_BYTES: Final[Mapping[str, int]] = {"cpu": 4 * 4 + 8, "gpu": 4 * 4}
# The rotary table keeps cosine and sine of every position, in float32 at most.
_ROTARY_BYTES: Final = 2 * 4
# vLLM's batch for MLA on a CPU is at least this (SchedulerConfig.DEFAULT_MAX_NUM_BATCHED_TOKENS).
_UNCHUNKED_BATCH: Final = 2048
# MXFP4 experts are padded: vLLM 0.32, layers/fused_moe/oracle/mxfp4.py, the widest of its GPU kernels.
_MXFP4_INTERMEDIATE, _MXFP4_HIDDEN = 128, 256
_FLOATS: Final = frozenset({"F64", "F32", "F16", "BF16"})


@dataclass(frozen=True, slots=True)
class Budget:
    """One device's memory at one tensor parallel size, in bytes; the parts that depend on the context are methods."""

    ask: Ask
    shape: Shape
    tensor_parallel: int
    weights: int
    overhead: int
    staging: int
    # None for an encoder, which keeps nothing.
    pool: Pool | None

    def fixed(self, context: int) -> int:
        """What does not depend on how many requests there are."""
        return self.weights + self.overhead + self.staging + self.activations(context)

    def blocks(self, context: int, requests: int) -> int:
        """Blocks for so many requests of this length, and the one that vLLM keeps."""
        return requests * self.pool.blocks(context) + 1 if self.pool else 0

    def room(self, context: int) -> int:
        """Blocks that fit beside the fixed part."""
        free = self.ask.usable - self.fixed(context)
        return max(0, free // self.pool.block_bytes) if self.pool else 0

    def needed(self, context: int, requests: int) -> int:
        """Bytes for so many requests of this length at once."""
        return self.fixed(context) + self.cache(self.blocks(context, requests))

    def cache(self, blocks: int) -> int:
        """Bytes of so many blocks."""
        return blocks * self.pool.block_bytes if self.pool else 0

    def fits(self, context: int, requests: int) -> bool:
        """Whether so many requests of this length fit at once."""
        return self.needed(context, requests) <= self.ask.usable

    def longest(self, requests: int, limit: int) -> int:
        """The longest context, in whole blocks up to limit, of which so many requests fit; 0 for none."""
        if self.fits(limit, requests):
            return limit
        low, high = 0, limit // self.ask.block_tokens
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.fits(middle * self.ask.block_tokens, requests) else (low, middle - 1)
        return low * self.ask.block_tokens

    def batch(self, context: int) -> int:
        """Tokens of one batch. A prompt is taken whole by MLA on a CPU (vLLM 0.32, platforms/cpu.py) and by encoders.

        So is it by decoders whose vectors are the mean of all tokens (config/model.py, is_chunked_prefill_supported);
        which those are config.json does not say.
        """
        asked = self.ask.max_num_batched_tokens
        if self.pool is None or self.ask.embeds:
            return max(asked, context)
        unchunked = self.ask.device == "cpu" and self.shape.latent is not None
        return max(asked, context, _UNCHUNKED_BATCH) if unchunked else asked

    def activations(self, context: int) -> int:
        """The widest step of a layer, beside residual, norms and output, which are not divided among devices."""
        shape = self.shape
        widths = max(_attention(shape, self.tensor_parallel), _mlp(shape, self.tensor_parallel)) + 4 * shape.hidden_size
        layer = self.batch(context) * widths * shape.element_bytes
        tables = _ROTARY_BYTES * (shape.max_position or context) * shape.head_size
        sampled = 0 if self.pool is None or self.ask.embeds else self.ask.max_num_seqs
        return layer + tables + sampled * shape.vocabulary * _SAMPLING_BYTES[self.ask.device]


def budget(model: ModelFacts, ask: Ask, shape: Shape, quantization: Quantization | None, size: int) -> Budget:
    """The memory of one of `size` devices that share the model."""
    total = sum(weights(model, shape, quantization, size).values()) + _derived(shape)
    element = quantization.bits / 8 if quantization else shape.element_bytes
    whole = int(parallel.replicated_parameters(shape, size) * element)
    parallelism = ask.parallel_mb if size > 1 else 0
    return Budget(
        ask=ask,
        shape=shape,
        tensor_parallel=size,
        weights=math.ceil(total / size) + whole,
        overhead=(ask.overhead_mb + parallelism) * MIB,
        staging=model.weights_bytes if ask.staged else 0,
        pool=_pool(ask, shape, quantization, size),
    )


def _pool(ask: Ask, shape: Shape, quantization: Quantization | None, size: int) -> Pool | None:
    if not shape.caches:
        return None
    in_flight = ask.batches * ask.max_num_batched_tokens
    return cache.pool(shape.caches, size, cache_element(ask, shape, quantization), ask.block_tokens, in_flight)


def cache_element(ask: Ask, shape: Shape, quantization: Quantization | None) -> int:
    """Bytes of one element of the cache: as asked for, else as the checkpoint says, else as the model computes."""
    if ask.kv_cache_dtype != "auto":
        return ELEMENT_BYTES.get(ask.kv_cache_dtype, 1)
    return (quantization and quantization.cache_bytes) or shape.element_bytes


def weights(model: ModelFacts, shape: Shape, quantization: Quantization | None, size: int = 1) -> Mapping[str, int]:
    """Bytes of the loaded weights by stored dtype; `packed` is what is no float: quantised weights and their scales.

    Floats of a model that is not quantised take the precision asked for; whatever else stays as stored. Without a count
    of parameters the files' size is the best there is.
    """
    if not model.parameters:
        return {"files": model.weights_bytes}
    floats = {dtype: count for dtype, count in model.parameters.items() if dtype in _FLOATS}
    stored = sum(count * ELEMENT_BYTES[dtype] for dtype, count in floats.items())
    packed = max(0, model.weights_bytes - stored) if set(model.parameters) - _FLOATS else 0
    found = {dtype: count * _loaded(dtype, shape, quantization) for dtype, count in floats.items()}
    return {**found, "packed": _padded(packed, shape, quantization, size)} if packed else found


def _loaded(dtype: str, shape: Shape, quantization: Quantization | None) -> int:
    """Scales of quantised weights stay float32 where they are."""
    return ELEMENT_BYTES[dtype] if quantization else shape.element_bytes


def _padded(packed: int, shape: Shape, quantization: Quantization | None, size: int) -> int:
    """MXFP4 experts are padded on their way to the device."""
    if quantization is None or "mxfp4" not in quantization.method or shape.experts is None:
        return packed
    width, hidden = shape.experts.intermediate_size, shape.hidden_size
    padded = size * parallel.in_steps(-(-width // size), _MXFP4_INTERMEDIATE) * parallel.in_steps(hidden, _MXFP4_HIDDEN)
    return -(-packed * padded // (width * hidden))


def _derived(shape: Shape) -> int:
    """MLA keeps its key and value projections a second time, unpacked (layers/attention/mla_attention.py: W_UK_T, W_UV)."""
    latent = shape.latent
    if latent is None:
        return 0
    return shape.layers * shape.attention_heads * latent.kv_rank * (latent.key + latent.value) * shape.element_bytes


def _attention(shape: Shape, size: int) -> int:
    """Elements for one token: queries, keys, values and the output of all heads; MLA unpacks a prompt's keys and values."""
    latent = shape.latent
    if latent:
        key = latent.key + latent.rotary
        return shape.attention_heads * 2 * (key + latent.value) // size + latent.query_rank + latent.kv_rank
    return 2 * (shape.attention_heads + shape.key_value_heads) * shape.head_size // size


def _mlp(shape: Shape, size: int) -> int:
    """Elements for one token: gate, up and their product; experts' workspaces as of fused_moe/experts/triton_moe.py."""
    experts = shape.experts
    if experts is None:
        return 3 * shape.intermediate_size // size
    part = experts.intermediate_size // size
    workspaces = max(part, shape.hidden_size) + max(2 * part, shape.hidden_size)
    mixture = experts.per_token * workspaces + 3 * experts.shared_size // size
    # Its first layers may be dense, and wider than its experts.
    return max(mixture, 3 * shape.intermediate_size // size)


def mb(amount: float) -> int:
    """Bytes as MB, rounded up."""
    return math.ceil(amount / MIB)
