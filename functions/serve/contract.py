"""The resource contract: does this model fit the memory asked for, and with how much context? Pure.

Called before anything is created, by `POST /contract`, `POST /serve` and serve-on-available. MB here is MiB (2**20
bytes), as Kubernetes' `Mi` and NVIDIA's tools count.

The sum, per device: weights / tensor_parallel + staging + cache of `concurrency` full-length requests + activations +
runtime.
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
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from functions.serve import architecture
from functions.serve.architecture import ELEMENT_BYTES, Shape, Unsizable

MIB: Final = 1 << 20
# A context shorter than this answers no real question: below it the contract refuses rather than shrinks further.
SHORTEST_CONTEXT: Final = 512
# Memory is proposed in steps that people write into manifests.
MEMORY_STEP_MB: Final = 256
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
class Split:
    """Where the memory goes, in MB, over all devices."""

    weights_mb: int
    kv_cache_mb: int
    activations_mb: int
    overhead_mb: int
    staging_mb: int = 0

    @property
    def total_mb(self) -> int:
        """The sum of the parts."""
        return self.weights_mb + self.kv_cache_mb + self.activations_mb + self.overhead_mb + self.staging_mb


@dataclass(frozen=True, slots=True)
class Nearest:
    """What would fit: a shorter context on the same memory, or memory per device for the context asked for."""

    max_model_len: int | None
    memory_mb: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The contract's answer. Without `fits`, `reason` has the numbers and `nearest` the way out."""

    fits: bool
    reason: str
    split: Split
    total_mb: int
    available_mb: int
    max_model_len: int
    concurrency: int
    kv_tokens: int
    kv_bytes_per_token: int
    # The cache of one device in bytes, as the engine is told.
    kv_cache_bytes: int
    tensor_parallel: int
    nearest: Nearest | None
    assumptions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Budget:
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


def assess(model: ModelFacts, ask: Ask) -> Verdict:
    """Decide. Never raises for a model or an ask: what cannot be sized is refused with the reason."""
    try:
        shape = architecture.read(model.config, ask.dtype)
    except Unsizable as unsizable:
        return _unsizable(model, ask, str(unsizable))
    if ask.max_model_len and shape.max_position and ask.max_model_len > shape.max_position:
        return _too_long(model, ask, shape)
    return _choose(model, ask, shape)


def _choose(model: ModelFacts, ask: Ask, shape: Shape) -> Verdict:
    """The smallest tensor parallel size that holds the wanted context; else, if nobody asked for one, a shorter one."""
    budgets = [_budget(model, ask, shape, size) for size in _tensor_parallel_sizes(ask, shape)]
    if not budgets:
        return _indivisible(model, ask, shape)
    wanted = ask.max_model_len or min(ask.usual_context, shape.max_position or ask.usual_context)
    for budget in budgets:
        if budget.context(ask.concurrency) >= wanted:
            return _accepted(ask, shape, budget, wanted)
    widest = budgets[-1]
    shorter = widest.context(ask.concurrency)
    if ask.max_model_len is None and shorter >= min(SHORTEST_CONTEXT, wanted):
        return _accepted(ask, shape, widest, shorter)
    return _refused(ask, shape, widest, wanted)


def _tensor_parallel_sizes(ask: Ask, shape: Shape) -> list[int]:
    """Sizes that vLLM accepts: they divide the attention heads. Powers of two, since interconnects come in those."""
    if ask.tensor_parallel is not None:
        sizes: Iterator[int] = iter([ask.tensor_parallel])
    else:
        sizes = (1 << power for power in range(ask.count.bit_length()))
    return [size for size in sizes if size <= ask.count and shape.attention_heads % size == 0]


def _budget(model: ModelFacts, ask: Ask, shape: Shape, size: int) -> _Budget:
    cache_element = shape.element_bytes if ask.kv_cache_dtype == "auto" else ELEMENT_BYTES.get(ask.kv_cache_dtype, 1)
    per_token = shape.cache_bytes_per_token(size, cache_element)
    return _Budget(
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


def _in_blocks(tokens: int, block: int) -> int:
    return -(-tokens // block) * block


def _mb(amount: float) -> int:
    return math.ceil(amount / MIB)


def _split(budget: _Budget, cache: int) -> Split:
    parts = (budget.weights, cache, budget.activations, budget.overhead, budget.staging)
    return Split(*(_mb(part * budget.tensor_parallel) for part in parts))


def _accepted(ask: Ask, shape: Shape, budget: _Budget, context: int) -> Verdict:
    """On a GPU vLLM takes all of the room; on a CPU only what its running requests can ever use."""
    tokens = budget.room_tokens
    if ask.device == "cpu":
        running = max(ask.concurrency, ask.max_num_seqs)
        tokens = min(tokens, running * _in_blocks(context, budget.block))
    return _verdict(ask, shape, budget, context, tokens)


def _verdict(ask: Ask, shape: Shape, budget: _Budget, context: int, tokens: int) -> Verdict:
    cache = tokens * budget.per_token
    split = _split(budget, cache)
    return Verdict(
        fits=True,
        reason="",
        split=split,
        total_mb=split.total_mb,
        available_mb=_mb(ask.usable * budget.tensor_parallel),
        max_model_len=context,
        concurrency=ask.concurrency,
        kv_tokens=tokens,
        kv_bytes_per_token=budget.per_token * budget.tensor_parallel,
        kv_cache_bytes=cache,
        tensor_parallel=budget.tensor_parallel,
        nearest=None,
        assumptions=shape.assumptions,
    )


def _refused(ask: Ask, shape: Shape, budget: _Budget, wanted: int) -> Verdict:
    needed_tokens = ask.concurrency * _in_blocks(wanted, budget.block)
    needed = budget.needed(needed_tokens)
    shorter = budget.context(ask.concurrency)
    nearest = Nearest(
        max_model_len=shorter if shorter >= SHORTEST_CONTEXT else None,
        memory_mb=_in_blocks(_mb(needed / ask.utilization), MEMORY_STEP_MB),
    )
    verdict = _verdict(ask, shape, budget, wanted, needed_tokens)
    return replace(verdict, fits=False, reason=_reason(ask, verdict, nearest), nearest=nearest)


def _reason(ask: Ask, verdict: Verdict, nearest: Nearest) -> str:
    split = verdict.split
    devices = f" x {verdict.tensor_parallel}" if ask.device == "gpu" else ""
    ways_out = [f"memory_mb {nearest.memory_mb}{devices}"]
    if nearest.max_model_len:
        ways_out.append(f"max_model_len {nearest.max_model_len}")
    return (
        f"{verdict.total_mb} MB are needed for {verdict.concurrency} x {verdict.max_model_len} tokens: "
        f"weights {split.weights_mb}, KV cache {split.kv_cache_mb}, activations {split.activations_mb}, "
        f"runtime {split.overhead_mb}, files while starting {split.staging_mb}; {verdict.available_mb} MB of the {ask.memory_mb}{devices} MB asked for can be used. "
        f"What would fit: {' or '.join(ways_out)}"
    )


def _flat_refusal(
    model: ModelFacts, ask: Ask, reason: str, nearest: Nearest | None, assumptions: tuple[str, ...]
) -> Verdict:
    """A refusal that no amount of memory changes."""
    split = Split(_mb(model.weights_bytes), 0, 0, ask.overhead_mb)
    return Verdict(
        fits=False,
        reason=reason,
        split=split,
        total_mb=split.total_mb,
        available_mb=_mb(ask.usable * ask.count),
        max_model_len=ask.max_model_len or 0,
        concurrency=ask.concurrency,
        kv_tokens=0,
        kv_bytes_per_token=0,
        kv_cache_bytes=0,
        tensor_parallel=ask.tensor_parallel or 1,
        nearest=nearest,
        assumptions=assumptions,
    )


def _unsizable(model: ModelFacts, ask: Ask, why: str) -> Verdict:
    return _flat_refusal(model, ask, f"the memory that this model needs cannot be computed: {why}", None, ())


def _too_long(model: ModelFacts, ask: Ask, shape: Shape) -> Verdict:
    reason = f"max_model_len {ask.max_model_len} was asked for; the model was trained for {shape.max_position} tokens"
    return _flat_refusal(model, ask, reason, Nearest(shape.max_position, ask.memory_mb), shape.assumptions)


def _indivisible(model: ModelFacts, ask: Ask, shape: Shape) -> Verdict:
    reason = (
        f"tensor_parallel_size {ask.tensor_parallel} is not possible with {ask.count} devices and "
        f"{shape.attention_heads} attention heads: it has to divide the heads and be at most the devices"
    )
    return _flat_refusal(model, ask, reason, None, shape.assumptions)
