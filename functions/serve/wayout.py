"""What a refused request could ask for instead: the nearest that would fit, each way on its own. Pure; part of `contract`."""

from dataclasses import dataclass, replace
from typing import Final

from functions.serve import parallel, sizing
from functions.serve.architecture import Shape
from functions.serve.ask import Ask, ModelFacts
from functions.serve.parallel import in_steps
from functions.serve.quantization import Quantization
from functions.serve.sizing import Budget, mb

# A context shorter than this answers no real question: below it the contract refuses rather than shrinks further.
SHORTEST_CONTEXT: Final = 512
# Memory is proposed in steps that people write into manifests.
MEMORY_STEP_MB: Final = 256
# As many GPUs as `requests.Gpu` takes.
_MOST_GPUS: Final = 64
# Bits of a weight that published variants of a model have.
_VARIANTS: Final = (8, 4)


@dataclass(frozen=True, slots=True)
class Nearest:
    """What would fit, all else as asked for; None for a way that leads nowhere.

    max_model_len: a shorter context. memory_mb: of each device. gpus: more of the same. gpu: the smallest known kind, as
    many of it. kv_cache_dtype: a smaller precision of the cache. weight_bits: a quantised variant of the model.
    """

    max_model_len: int | None
    memory_mb: int
    gpus: int | None = None
    gpu: str | None = None
    kv_cache_dtype: str | None = None
    weight_bits: int | None = None


def wanted_context(ask: Ask, shape: Shape) -> int:
    """The context asked for, else a usual one that the model was trained for."""
    return ask.max_model_len or min(ask.usual_context, shape.max_position or ask.usual_context)


def nearest(model: ModelFacts, ask: Ask, shape: Shape, quantization: Quantization | None, widest: Budget) -> Nearest:
    """widest: the budget that was refused."""
    wanted = wanted_context(ask, shape)

    def holds(other: Ask, facts: ModelFacts = model, quantized: Quantization | None = quantization) -> bool:
        sizes = parallel.sizes(other, shape, quantized)
        budgets = (sizing.budget(facts, other, shape, quantized, size) for size in sizes)
        return any(budget.fits(wanted, ask.concurrency) for budget in budgets)

    shorter = widest.longest(ask.concurrency, wanted)
    more = (1 << power for power in range(_MOST_GPUS.bit_length()) if 1 << power > ask.count)
    cards = sorted(ask.cards, key=lambda card: (card.memory_mb, card.name))
    smaller_cache = (dtype for dtype in ask.kv_cache_dtypes if dtype not in {"auto", ask.kv_cache_dtype})
    loaded = quantization.bits if quantization else 8 * shape.element_bytes
    return Nearest(
        max_model_len=shorter if shorter >= SHORTEST_CONTEXT else None,
        memory_mb=in_steps(mb(widest.needed(wanted, ask.concurrency) / ask.utilization), MEMORY_STEP_MB),
        gpus=next(
            (n for n in more if ask.device == "gpu" and holds(replace(ask, count=n, tensor_parallel=None))), None
        ),
        gpu=next((card.name for card in cards if holds(replace(ask, memory_mb=card.memory_mb))), None),
        kv_cache_dtype=next((dtype for dtype in smaller_cache if holds(replace(ask, kv_cache_dtype=dtype))), None),
        weight_bits=next((b for b in _VARIANTS if holds(ask, *_variant(model, shape, b, loaded))), None),
    )


def _variant(model: ModelFacts, shape: Shape, bits: int, loaded: int) -> tuple[ModelFacts, Quantization]:
    """The model with weights of so many bits; embeddings and output, which such variants leave as they are, stay."""
    kept = 2 * shape.vocabulary * shape.hidden_size * shape.element_bytes
    total = sum(sizing.weights(model, shape, None).values())
    shrunk = min(total, kept + max(0, total - kept) * bits // loaded)
    return replace(model, parameters={}, weights_bytes=shrunk), Quantization("variant", bits, 0)


def in_words(ask: Ask, found: Nearest, tensor_parallel: int) -> list[str]:
    """The ways out as the parameters that lead there."""
    devices = f" x {tensor_parallel}" if ask.device == "gpu" else ""
    ways = [
        f"memory_mb {found.memory_mb}{devices}",
        f"max_model_len {found.max_model_len}" if found.max_model_len else "",
        f"{found.gpus} GPUs like this" if found.gpus else "",
        f"{ask.count} x {found.gpu}" if found.gpu else "",
        f"kv_cache_dtype {found.kv_cache_dtype}" if found.kv_cache_dtype else "",
        f"a variant with {found.weight_bits}-bit weights" if found.weight_bits else "",
    ]
    return [way for way in ways if way]
