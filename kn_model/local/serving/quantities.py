"""Numbers and times as Kubernetes writes them: `512Mi`, `1Gi`, `250m`, `2m30s`. Pure."""

import re
from typing import Final

_SUFFIX: Final = {
    "": 1.0,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_SECONDS: Final = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+|0")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def quantity(text: str | float) -> float:
    """The number behind a resource quantity (bytes, CPUs, devices). Raises ValueError."""
    found = _QUANTITY.fullmatch(str(text))
    if not found:
        raise ValueError(f"invalid quantity {text!r}")
    return float(found[1]) * _SUFFIX[found[2] or ""]


def seconds(text: str) -> float:
    """The seconds of a Go duration (`90s`, `2m30s`, `0`). Raises ValueError."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"invalid duration {text!r}")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
