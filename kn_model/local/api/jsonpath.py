r"""The part of JSONPath that printer columns use: `.spec.x`, `.items[0]`, `.conditions[?(@.type=="Ready")].status`. Pure.

In `.metadata.labels.example\.org/x` the backslash makes the dot a part of the name.
Called by `api/table.py` and, when a definition is applied, by `admission.definitions`, which refuses any other form.
Source: k8s.io/client-go `util/jsonpath`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_STEP: Final = re.compile(
    r"""\.(?P<name>[A-Za-z_](?:[\w/-]|\\\.)*)
      | \[(?P<index>\d+)\]
      | \['(?P<quoted>[^']+)'\]
      | \[\?\(@\.(?P<key>[\w-]+)\s*==\s*(?P<quote>["'])(?P<value>[^"']*)(?P=quote)\)\]""",
    re.VERBOSE,
)


def understood(path: str) -> bool:
    """Whether `first` can follow the path."""
    return path.startswith(".") and not _STEP.sub("", path)


def first(path: str, obj: Any) -> Any:
    """The first value that the path leads to, or None."""
    values = [obj]
    for step in _STEP.finditer(path):
        values = [found for value in values for found in _follow(step, value)]
    return values[0] if values else None


def _follow(step: re.Match[str], value: Any) -> Iterator[Any]:
    if name := (step["name"] or "").replace("\\.", ".") or step["quoted"]:
        if isinstance(value, Mapping) and value.get(name) is not None:
            yield value[name]
    elif isinstance(value, list):
        if step["index"] is not None:
            yield from value[int(step["index"]) : int(step["index"]) + 1]
        else:
            yield from (each for each in value if isinstance(each, Mapping) and each.get(step["key"]) == step["value"])
