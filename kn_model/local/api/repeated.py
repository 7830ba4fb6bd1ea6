"""Fields that a JSON document has twice: which of them counts is anybody's guess, so strict validation refuses it. Pure.

Called by `api/http.py`. Source: sigs.k8s.io/json `UnmarshalStrict`.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any


class _Members(list[tuple[str, Any]]):
    """An object as the decoder saw it, in order and with repetitions."""


def fields(text: str) -> Sequence[str]:
    """`duplicate field "spec.x"` for each field that is repeated, in the order of the text."""
    return [f'duplicate field "{path}"' for path in _repeated(json.loads(text, object_pairs_hook=_Members), "")]


def _repeated(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Members):
        seen: set[str] = set()
        for name, item in value:
            below = f"{path}.{name}" if path else name
            if name in seen:
                yield below
            seen.add(name)
            yield from _repeated(item, below)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _repeated(item, f"{path}[{index}]")
