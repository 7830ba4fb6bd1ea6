"""Which tensor parallel sizes vLLM accepts for a model, and what every device then holds whole. Pure.

Called by the contract. From vLLM 0.32: `divide` in distributed/utils.py and its callers in layers/linear.py
(QKVParallelLinear, ColumnParallelLinear), layers/vocab_parallel_embedding.py, and the checks of scale groups in
layers/quantization.
"""

from collections.abc import Iterator
from typing import Final

from functions.serve.architecture import Shape
from functions.serve.ask import Ask
from functions.serve.quantization import Quantization

# The vocabulary is padded to this before it is cut (DEFAULT_VOCAB_PADDING_SIZE).
_VOCABULARY_STEP: Final = 64


def sizes(ask: Ask, shape: Shape, quantization: Quantization | None) -> list[int]:
    """The sizes to try, smallest first: the one asked for, else powers of two, since interconnects come in those."""
    wanted = [ask.tensor_parallel] if ask.tensor_parallel else [1 << power for power in range(ask.count.bit_length())]
    return [size for size in wanted if size <= ask.count and not any(obstacles(shape, quantization, size))]


def obstacles(shape: Shape, quantization: Quantization | None, size: int) -> Iterator[str]:
    """What cannot be cut into so many parts, in words."""
    if shape.attention_heads % size:
        yield f"{shape.attention_heads} attention heads"
    if not shape.latent and shape.key_value_heads % size and size % shape.key_value_heads:
        yield f"{shape.key_value_heads} key-value heads"
    if in_steps(shape.vocabulary, _VOCABULARY_STEP) % size:
        yield f"a vocabulary of {shape.vocabulary}"
    group = quantization.group if quantization else 0
    for width in sorted(_widths(shape)):
        if width % size:
            yield f"an intermediate size of {width}"
        elif size > 1 and group and width // size % group:
            yield f"an intermediate size of {width} in scale groups of {group}"


def _widths(shape: Shape) -> set[int]:
    """Dense layers and experts; a mixture whose every layer is one has no dense width of its own."""
    experts = shape.experts
    if experts is None:
        return {shape.intermediate_size}
    return {experts.intermediate_size, *({experts.shared_size} if experts.shared_size else set())}


def replicated_parameters(shape: Shape, size: int) -> int:
    """How many parameters more than its share a device holds: projections that are not cut, and copied heads."""
    if size == 1:
        return 0
    router = shape.layers * shape.hidden_size * (shape.experts.count if shape.experts else 0)
    if shape.latent:
        latent = shape.latent.query_rank + shape.latent.kv_rank + shape.latent.rotary
        return _beyond_share(router + shape.layers * shape.hidden_size * latent, size)
    copies = max(0, size - shape.key_value_heads) * 2 * shape.head_size * shape.hidden_size * shape.layers
    return _beyond_share(router, size) + copies // size


def _beyond_share(parameters: int, size: int) -> int:
    return parameters - parameters // size


def in_steps(amount: int, step: int) -> int:
    """`amount` rounded up to whole steps."""
    return -(-amount // step) * step
