"""How much memory a model takes on one device, by what is asked for: the arithmetic of the contract. Pure.

The sum, per device: weights / tensor_parallel + staging + cache + activations + runtime.
- weights: what the safetensors headers count, at the precision that vLLM loads them in;
- staging: the verified files in memory, which the engine holds beside the loaded weights until it is ready; only where
  the container's memory is the device's (CPU);
- cache: `Shape.cache_bytes_per_token`, in whole blocks, as vLLM allocates it;
- activations: the widest layer's tensors for one batch, and the logits of every running request in float32, twice
  (vLLM keeps logits and sampled probabilities);
- runtime: what the engine takes without a model, a measured constant of the runtime file.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from functions.serve.architecture import ELEMENT_BYTES, Shape

MIB: Final = 1 << 20
_LOGITS_BYTES: Final = 4 * 2
_FLOATS: Final = frozenset({"F32", "F16", "BF16"})


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a stored model: its config.json, bytes of weights on disk, and parameters counted by dtype."""

    config: Mapping[str, Any]
    weights_bytes: int
    parameters: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked for: memory per device (MB), devices, and how the engine is to run."""

    device: Literal["cpu", "gpu"]
    memory_mb: int
    # The runtime's own needs per device, of the part of the memory that it may use (utilization).
    overhead_mb: int
    utilization: float
    block_tokens: int
    max_num_seqs: int
    max_num_batched_tokens: int
    # Context to choose when nobody asks for one.
    usual_context: int
    # The engine keeps the files in this memory too while it starts.
    staged: bool = False
    count: int = 1
    max_model_len: int | None = None
    # Requests of full length that have to fit at the same time.
    concurrency: int = 1
    dtype: str = "auto"
    kv_cache_dtype: str = "auto"
    tensor_parallel: int | None = None

    @property
    def usable(self) -> int:
        """Bytes of one device that the engine may use."""
        return int(self.memory_mb * MIB * self.utilization)


@dataclass(frozen=True, slots=True)
class Budget:
    """One device's memory at one tensor parallel size, in bytes."""

    tensor_parallel: int
    usable: int
    weights: int
    activations: int
    overhead: int
    staging: int
    per_token: int
    block: int

    @property
    def fixed(self) -> int:
        """What does not depend on the context."""
        return self.weights + self.activations + self.overhead + self.staging

    @property
    def room_tokens(self) -> int:
        """Tokens that fit beside the fixed part, in whole blocks."""
        return max(0, (self.usable - self.fixed) // (self.per_token * self.block)) * self.block

    def context(self, concurrency: int) -> int:
        """The longest context of which `concurrency` fit."""
        return self.room_tokens // self.block // concurrency * self.block

    def needed(self, tokens: int) -> int:
        """Bytes for the fixed part and a cache of `tokens`."""
        return self.fixed + tokens * self.per_token


def tensor_parallel_sizes(ask: Ask, shape: Shape) -> list[int]:
    """Sizes that vLLM accepts: they divide the attention heads. Powers of two, since interconnects come in those."""
    if ask.tensor_parallel is not None:
        sizes: Iterator[int] = iter([ask.tensor_parallel])
    else:
        sizes = (1 << power for power in range(ask.count.bit_length()))
    return [size for size in sizes if size <= ask.count and shape.attention_heads % size == 0]


def budget(model: ModelFacts, ask: Ask, shape: Shape, size: int) -> Budget:
    """The memory of one of `size` devices that share the model."""
    cache_element = shape.element_bytes if ask.kv_cache_dtype == "auto" else ELEMENT_BYTES.get(ask.kv_cache_dtype, 1)
    per_token = shape.cache_bytes_per_token(size, cache_element)
    return Budget(
        tensor_parallel=size,
        usable=ask.usable,
        weights=math.ceil(loaded_weights(model, shape.element_bytes) / size),
        activations=_activations(ask, shape, size),
        overhead=ask.overhead_mb * MIB,
        staging=model.weights_bytes if ask.staged else 0,
        per_token=per_token,
        block=ask.block_tokens,
    )


def loaded_weights(model: ModelFacts, element_bytes: int) -> int:
    """Bytes of the weights in memory: floats at the loaded precision, whatever else (quantised, packed) as stored.

    Without a count of parameters the files' size is the best there is.
    """
    if not model.parameters:
        return model.weights_bytes
    floats = sum(count for dtype, count in model.parameters.items() if dtype in _FLOATS)
    stored = sum(count * ELEMENT_BYTES[dtype] for dtype, count in model.parameters.items() if dtype in _FLOATS)
    return floats * element_bytes + max(0, model.weights_bytes - stored)


def _activations(ask: Ask, shape: Shape, size: int) -> int:
    """Gate and up projections are divided among devices; residual, attention input and output are not."""
    widths = 2 * shape.intermediate_size // size + 4 * shape.hidden_size
    logits = ask.max_num_seqs * shape.vocabulary * _LOGITS_BYTES
    return ask.max_num_batched_tokens * widths * shape.element_bytes + logits


def in_blocks(tokens: int, block: int) -> int:
    """`tokens` rounded up to whole blocks."""
    return -(-tokens // block) * block


def mb(amount: float) -> int:
    """Bytes as MB, rounded up."""
    return math.ceil(amount / MIB)
