"""The resource contract: does this model fit the memory asked for, and with how much context? Pure.

Called before anything is created, by `POST /contract`, `POST /serve` and serve-on-available; the arithmetic is in
`sizing`. MB here is MiB (2**20 bytes), as Kubernetes' `Mi` and NVIDIA's tools count.
"""

from dataclasses import dataclass, replace
from typing import Final

from functions.serve import architecture, sizing
from functions.serve.architecture import Shape, Unsizable
from functions.serve.sizing import Ask, Budget, ModelFacts, in_blocks, mb

# A context shorter than this answers no real question: below it the contract refuses rather than shrinks further.
SHORTEST_CONTEXT: Final = 512
# Memory is proposed in steps that people write into manifests.
MEMORY_STEP_MB: Final = 256


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
    budgets = [sizing.budget(model, ask, shape, size) for size in sizing.tensor_parallel_sizes(ask, shape)]
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


def _split(budget: Budget, cache: int) -> Split:
    parts = (budget.weights, cache, budget.activations, budget.overhead, budget.staging)
    return Split(*(mb(part * budget.tensor_parallel) for part in parts))


def _accepted(ask: Ask, shape: Shape, budget: Budget, context: int) -> Verdict:
    """On a GPU vLLM takes all of the room; on a CPU only what its running requests can ever use."""
    tokens = budget.room_tokens
    if ask.device == "cpu":
        running = max(ask.concurrency, ask.max_num_seqs)
        tokens = min(tokens, running * in_blocks(context, budget.block))
    return _verdict(ask, shape, budget, context, tokens)


def _verdict(ask: Ask, shape: Shape, budget: Budget, context: int, tokens: int) -> Verdict:
    cache = tokens * budget.per_token
    split = _split(budget, cache)
    return Verdict(
        fits=True,
        reason="",
        split=split,
        total_mb=split.total_mb,
        available_mb=mb(ask.usable * budget.tensor_parallel),
        max_model_len=context,
        concurrency=ask.concurrency,
        kv_tokens=tokens,
        kv_bytes_per_token=budget.per_token * budget.tensor_parallel,
        kv_cache_bytes=cache,
        tensor_parallel=budget.tensor_parallel,
        nearest=None,
        assumptions=shape.assumptions,
    )


def _refused(ask: Ask, shape: Shape, budget: Budget, wanted: int) -> Verdict:
    needed_tokens = ask.concurrency * in_blocks(wanted, budget.block)
    needed = budget.needed(needed_tokens)
    shorter = budget.context(ask.concurrency)
    nearest = Nearest(
        max_model_len=shorter if shorter >= SHORTEST_CONTEXT else None,
        memory_mb=in_blocks(mb(needed / ask.utilization), MEMORY_STEP_MB),
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
        f"runtime {split.overhead_mb}, files while starting {split.staging_mb}; "
        f"{verdict.available_mb} MB of the {ask.memory_mb}{devices} MB asked for can be used. "
        f"What would fit: {' or '.join(ways_out)}"
    )


def _flat_refusal(
    model: ModelFacts, ask: Ask, reason: str, nearest: Nearest | None, assumptions: tuple[str, ...]
) -> Verdict:
    """A refusal that no amount of memory changes."""
    split = Split(mb(model.weights_bytes), 0, 0, ask.overhead_mb)
    return Verdict(
        fits=False,
        reason=reason,
        split=split,
        total_mb=split.total_mb,
        available_mb=mb(ask.usable * ask.count),
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
