"""What the contract is asked: a stored model, and the memory and parameters that it is to run with. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a stored model: its config.json, bytes of weights on disk, and parameters counted by dtype."""

    config: Mapping[str, Any]
    weights_bytes: int
    parameters: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Card:
    """A kind of GPU: its name, and the memory of one in MB as NVIDIA's tools count it."""

    name: str
    memory_mb: int


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
    # What each of several devices takes to speak with the others.
    parallel_mb: int = 0
    # Batches that the engine has under way at once.
    batches: int = 1
    # Vectors are asked for: nothing is sampled, and a text may have to be taken whole.
    embeds: bool = False
    # The engine keeps the files in this memory too while it starts.
    staged: bool = False
    count: int = 1
    max_model_len: int | None = None
    # Requests of full length that have to fit at the same time.
    concurrency: int = 1
    dtype: str = "auto"
    kv_cache_dtype: str = "auto"
    tensor_parallel: int | None = None
    # What could be asked for instead, for a refusal to name: precisions of the cache, and kinds of GPU.
    kv_cache_dtypes: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()

    @property
    def usable(self) -> int:
        """Bytes of one device that the engine may use."""
        return int(self.memory_mb * MIB * self.utilization)
