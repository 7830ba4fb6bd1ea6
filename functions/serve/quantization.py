"""How a model's weights are quantised, read from its `quantization_config`. Pure.

Called by the contract. What the weights take comes from the headers' tensors; from here come the method's name, by
which a runtime says what it loads, the scale groups that a shard has to keep whole, and the cache's precision where
the model brings its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

_FOUR_BITS: Final = 4
_EIGHT_BITS: Final = 8
# More is no quantisation.
_MOST_BITS: Final = 16


@dataclass(frozen=True, slots=True)
class Quantization:
    """method: as vLLM names it. bits: of one weight. group: neighbours that share a scale and have to stay together.

    cache_bytes: of one element of the cache where the model's own calibration says so, else None.
    """

    method: str
    bits: int
    group: int
    cache_bytes: int | None = None

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.method}, {self.bits} bits"


def read(config: Mapping[str, Any]) -> Quantization | None:
    """The quantisation that a config.json declares, None for none. An unknown method keeps its name, with 8 bits."""
    found = _section(config)
    if found is None:
        return None
    method = str(found.get("quant_method") or _modelopt(found) or "unknown").lower().replace("_tensors", "-tensors")
    return Quantization(method, _bits(method, found), _group(found), _cache_bytes(found))


def _section(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Older compressed-tensors models name it compression_config; models that also see may nest it."""
    for holder in (config, config.get("text_config")):
        if isinstance(holder, Mapping):
            for name in ("quantization_config", "compression_config"):
                if isinstance(holder.get(name), Mapping):
                    return dict(holder[name])
    return None


def _modelopt(found: Mapping[str, Any]) -> str | None:
    """ModelOpt's files say which algorithm instead of which method (vLLM: model_arch_config_convertor.py)."""
    algorithm = str(_inner(found).get("quant_algo") or "").upper()
    if not algorithm:
        return None
    return "modelopt_fp4" if algorithm == "NVFP4" else "modelopt"


def _inner(found: Mapping[str, Any]) -> Mapping[str, Any]:
    nested = found.get("quantization")
    return nested if isinstance(nested, Mapping) else found


def _weights(found: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """compressed-tensors: one scheme for each group of layers."""
    groups = found.get("config_groups")
    for group in groups.values() if isinstance(groups, Mapping) else ():
        if isinstance(group, Mapping) and isinstance(group.get("weights"), Mapping):
            yield group["weights"]


def _bits(method: str, found: Mapping[str, Any]) -> int:
    """The widest of what it says; half a byte only where the method cannot be wider."""
    said = [found.get("bits"), found.get("w_bit"), *(scheme.get("num_bits") for scheme in _weights(found))]
    numbers = [bits for bits in said if isinstance(bits, int) and 0 < bits <= _MOST_BITS]
    if numbers:
        return max(numbers)
    four = "mxfp4" in method or method == "modelopt_fp4" or found.get("load_in_4bit") is True
    return _FOUR_BITS if four else _EIGHT_BITS


def _group(found: Mapping[str, Any]) -> int:
    """0 where a whole row or tensor has one scale, and for MXFP4, which vLLM pads until its blocks are whole."""
    block = found.get("weight_block_size")
    edges = [edge for edge in block if isinstance(edge, int)] if isinstance(block, list) else []
    said = [
        found.get("group_size"),
        found.get("q_group_size"),
        *(scheme.get("group_size") for scheme in _weights(found)),
    ]
    numbers = [size for size in said if isinstance(size, int) and size > 0] + edges
    return max(numbers, default=0)


def _cache_bytes(found: Mapping[str, Any]) -> int | None:
    """VLLM takes the cache's precision from the checkpoint unless told otherwise (layers/attention/attention.py)."""
    scheme = found.get("kv_cache_scheme")
    if isinstance(scheme, Mapping) and scheme.get("num_bits") == _EIGHT_BITS:
        return 1
    return 1 if str(_inner(found).get("kv_cache_quant_algo") or "").upper() == "FP8" else None
