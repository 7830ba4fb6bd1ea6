"""The resource contract: does this model fit the memory asked for, and with how much context? Pure.

Called before anything is created, by `POST /contract`, `POST /serve` and serve-on-available; the arithmetic is in
`sizing`, the shape of a model in `architecture`. MB here is MiB (2**20 bytes), as Kubernetes' `Mi` and NVIDIA's tools
count.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from functions.serve import architecture, parallel, quantization, sizing, wayout
from functions.serve.architecture import Shape, Unsizable
from functions.serve.ask import Ask, ModelFacts
from functions.serve.quantization import Quantization
from functions.serve.sizing import Budget, mb
from functions.serve.wayout import SHORTEST_CONTEXT, Nearest

# A context that nobody trains for: the end of the search where a model names no longest one.
_ENDLESS: Final = 1 << 20


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
class Verdict:
    """The contract's answer. Without `fits`, `reason` has the numbers and `nearest` the way out.

    max_model_len: the context that would be served. longest_model_len: the longest that could be asked for. concurrency:
    requests of max_model_len that fit at once. kv_tokens: what the cache holds of such requests, as vLLM reports it.
    kv_bytes_per_token: of such a request on average, over all devices. kv_cache_bytes: of one device, as the engine is
    told. batched_tokens: likewise. weights_mb: over all devices, by stored dtype.
    """

    fits: bool
    reason: str
    split: Split
    total_mb: int
    available_mb: int
    max_model_len: int
    longest_model_len: int
    concurrency: int
    kv_tokens: int
    kv_bytes_per_token: int
    kv_cache_bytes: int
    batched_tokens: int
    tensor_parallel: int
    nearest: Nearest | None
    assumptions: tuple[str, ...]
    quantization: str | None = None
    weights_mb: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Case:
    """One question: what is stored, what is asked for, and what was read out of both."""

    model: ModelFacts
    ask: Ask
    shape: Shape
    quantization: Quantization | None

    def budgets(self) -> list[Budget]:
        """One for each tensor parallel size that is possible, smallest first."""
        sizes = parallel.sizes(self.ask, self.shape, self.quantization)
        return [sizing.budget(self.model, self.ask, self.shape, self.quantization, size) for size in sizes]


def assess(model: ModelFacts, ask: Ask) -> Verdict:
    """Decide. Never raises for a model or an ask: what cannot be sized is refused with the reason."""
    try:
        shape = architecture.read(model.config, ask.dtype)
    except Unsizable as unsizable:
        reason = f"the memory that this model needs cannot be computed: {unsizable}"
        return _flat_refusal(model, ask, reason, None, ())
    if ask.max_model_len and shape.max_position and ask.max_model_len > shape.max_position:
        return _too_long(model, ask, shape)
    return _choose(_Case(model, ask, shape, quantization.read(model.config)))


def _choose(case: _Case) -> Verdict:
    """The smallest tensor parallel size that holds the wanted context; else, if nobody asked for one, a shorter one."""
    budgets = case.budgets()
    if not budgets:
        return _indivisible(case)
    ask = case.ask
    wanted = wayout.wanted_context(ask, case.shape)
    for budget in budgets:
        if budget.fits(wanted, ask.concurrency):
            return _accepted(case, budget, wanted)
    widest = max(budgets, key=lambda budget: budget.longest(ask.concurrency, wanted))
    shorter = widest.longest(ask.concurrency, wanted)
    if ask.max_model_len is None and shorter >= min(SHORTEST_CONTEXT, wanted):
        return _accepted(case, widest, shorter)
    return _refused(case, budgets[-1], wanted)


def _accepted(case: _Case, budget: Budget, context: int) -> Verdict:
    """On a GPU vLLM takes all of the room; on a CPU only what its running requests can ever use."""
    blocks = budget.room(context)
    if case.ask.device == "cpu":
        running = max(case.ask.concurrency, case.ask.max_num_seqs)
        blocks = min(blocks, budget.blocks(context, running))
    return _verdict(case, budget, context, blocks)


def _verdict(case: _Case, budget: Budget, context: int, blocks: int) -> Verdict:
    ask, size = case.ask, budget.tensor_parallel
    cache = budget.cache(blocks)
    parts = (budget.weights, cache, budget.activations(context), budget.overhead, budget.staging)
    split = Split(*(mb(part * size) for part in parts))
    each = budget.pool.blocks(context) if budget.pool else 0
    loaded = sizing.weights(case.model, case.shape, case.quantization, size)
    return Verdict(
        fits=True,
        reason="",
        split=split,
        total_mb=split.total_mb,
        available_mb=mb(ask.usable * size),
        max_model_len=context,
        longest_model_len=budget.longest(ask.concurrency, case.shape.max_position or _ENDLESS),
        concurrency=(blocks - 1) // each if each else ask.max_num_seqs,
        kv_tokens=blocks * context // each if each else 0,
        kv_bytes_per_token=budget.cache(each) * size // context,
        kv_cache_bytes=cache,
        batched_tokens=budget.batch(context),
        tensor_parallel=size,
        nearest=None,
        assumptions=case.shape.assumptions,
        quantization=case.quantization.title if case.quantization else None,
        weights_mb={dtype: mb(amount) for dtype, amount in loaded.items()},
    )


def _refused(case: _Case, budget: Budget, wanted: int) -> Verdict:
    ask = case.ask
    verdict = _verdict(case, budget, wanted, budget.blocks(wanted, ask.concurrency))
    nearest = wayout.nearest(case.model, ask, case.shape, case.quantization, budget)
    return replace(verdict, fits=False, reason=_reason(ask, verdict, nearest), nearest=nearest)


def _reason(ask: Ask, verdict: Verdict, nearest: Nearest) -> str:
    split = verdict.split
    devices = f" x {verdict.tensor_parallel}" if ask.device == "gpu" else ""
    return (
        f"{verdict.total_mb} MB are needed for {ask.concurrency} x {verdict.max_model_len} tokens: "
        f"weights {split.weights_mb}, KV cache {split.kv_cache_mb}, activations {split.activations_mb}, "
        f"runtime {split.overhead_mb}, files while starting {split.staging_mb}; "
        f"{verdict.available_mb} MB of the {ask.memory_mb}{devices} MB asked for can be used. "
        f"What would fit: {' or '.join(wayout.in_words(ask, nearest, verdict.tensor_parallel))}"
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
        longest_model_len=nearest.max_model_len or 0 if nearest else 0,
        concurrency=0,
        kv_tokens=0,
        kv_bytes_per_token=0,
        kv_cache_bytes=0,
        batched_tokens=ask.max_num_batched_tokens,
        tensor_parallel=ask.tensor_parallel or 1,
        nearest=nearest,
        assumptions=assumptions,
    )


def _too_long(model: ModelFacts, ask: Ask, shape: Shape) -> Verdict:
    reason = f"max_model_len {ask.max_model_len} was asked for; the model was trained for {shape.max_position} tokens"
    return _flat_refusal(model, ask, reason, Nearest(shape.max_position, ask.memory_mb), shape.assumptions)


def _indivisible(case: _Case) -> Verdict:
    size = case.ask.tensor_parallel or 1
    whole = list(parallel.obstacles(case.shape, case.quantization, size))
    why = f"it cannot cut {', '.join(whole)}" if whole else f"there are {case.ask.count} devices"
    possible = [other for other in range(1, case.ask.count + 1) if _divides(case, other)]
    reason = f"tensor_parallel_size {size} is not possible: {why}; possible are {', '.join(map(str, possible))}"
    return _flat_refusal(case.model, case.ask, reason, None, case.shape.assumptions)


def _divides(case: _Case, size: int) -> bool:
    return not any(parallel.obstacles(case.shape, case.quantization, size))
