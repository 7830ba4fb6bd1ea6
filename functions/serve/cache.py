"""The cache as vLLM lays it out: one pool of equal blocks, from which every group of layers takes its own. Pure.

Layers that keep the whole context and layers that keep a window of it are different groups. vLLM cuts the kinds into
groups of the same number of layers, so that one block serves any of them (vLLM 0.32, v1/core/kv_cache_utils.py:
get_kv_cache_groups, and `max_admission_blocks_per_request` in v1/kv_cache_interface.py). One block of the pool is never
given to a request.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

# Nearly as many of one kind as of the other: vLLM pads the fewer instead of cutting the more into slivers.
_NEARLY: Final = 1.5


@dataclass(frozen=True, slots=True)
class Layers:
    """Layers whose cache is alike. width: elements that one head keeps of a token, keys and values together.

    MLA's latent vector is one head. window: how many tokens it looks back, None for all. element_bytes: where it does
    not follow the cache's precision.
    """

    count: int
    heads: int
    width: int
    window: int | None = None
    element_bytes: int | None = None

    def token_bytes(self, devices: int, element_bytes: int) -> int:
        """What one layer of one device keeps of a token. With fewer heads than devices each holds a copy of one."""
        return max(1, self.heads // devices) * self.width * (self.element_bytes or element_bytes)


@dataclass(frozen=True, slots=True)
class Pool:
    """The blocks of one device. block_bytes: of one. windows: one entry for each group that takes blocks.

    in_flight: tokens that may be scheduled and not yet settled; a window is trimmed only behind them.
    """

    block_tokens: int
    block_bytes: int
    windows: tuple[int | None, ...]
    in_flight: int

    def blocks(self, context: int) -> int:
        """What one request of this length takes."""
        return sum(self._blocks(window, context) for window in self.windows)

    def _blocks(self, window: int | None, context: int) -> int:
        if window is None:
            return -(-context // self.block_tokens)
        # One more, because a window need not begin where a block does.
        return -(-min(window - 1 + self.in_flight, context) // self.block_tokens) + 1


def pool(layers: Sequence[Layers], devices: int, element_bytes: int, block_tokens: int, in_flight: int) -> Pool:
    """The pool of one of `devices` that share the model. layers: at least one."""
    kinds = _kinds(layers, devices, element_bytes)
    if len(kinds) == 1:
        ((window, sizes),) = kinds.items()
        return Pool(block_tokens, sum(sizes) * block_tokens, (window,), in_flight)
    counts = [len(sizes) for sizes in kinds.values()]
    size = max(counts) if max(counts) < _NEARLY * min(counts) else min(counts)
    widest = max(max(sizes) for sizes in kinds.values())
    windows = tuple(window for window, sizes in kinds.items() for _ in range(-(-len(sizes) // size)))
    return Pool(block_tokens, size * widest * block_tokens, windows, in_flight)


def _kinds(layers: Sequence[Layers], devices: int, element_bytes: int) -> Mapping[int | None, list[int]]:
    """By window: the bytes of a token in each layer."""
    found: dict[int | None, list[int]] = {}
    for alike in layers:
        found.setdefault(alike.window, []).extend([alike.token_bytes(devices, element_bytes)] * alike.count)
    return found
