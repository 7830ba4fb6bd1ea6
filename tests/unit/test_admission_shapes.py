"""Whatever a client sends, admission answers or refuses: it never fails, since an API server must not."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from kn_model.local.admission.admit import Denied, admit
from tests.unit.admission_objects import BROKER, PING, REVISION, ROUTE, SERVICE, TRIGGER, WATCH, put

WRONG: tuple[Any, ...] = (
    None,
    -1,
    0.5,
    "x",
    "",
    True,
    [],
    [None],
    ["x"],
    [{}],
    {},
    {"x": "y"},
    {"x": None},
    {"x": [{}]},
)
# What decides which webhook looks at it at all.
IDENTITY = ("apiVersion", "kind")


def paths(value: Any, path: str = "") -> Iterator[str]:
    """Every place in an object, as `put` names them."""
    if path:
        yield path
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from paths(item, f"{path}.{key}" if path else key)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths(item, f"{path}[{index}]")


@pytest.mark.parametrize(
    "base", [SERVICE, REVISION, ROUTE, BROKER, TRIGGER, PING, WATCH], ids=lambda base: base["kind"]
)
def test_any_value_anywhere_is_admitted_or_denied(base: Mapping[str, Any]) -> None:
    """Every field of every kind with every kind of wrong value."""
    stored = admit(base)
    for path in paths(base):
        for value in () if path in IDENTITY else WRONG:
            broken = put(base, {path: value})
            with contextlib.suppress(Denied):
                admit(broken)
            with contextlib.suppress(Denied):
                admit(broken, stored)


def test_a_field_that_is_null_is_not_there() -> None:
    """Clients written in Go send nulls for what they leave out."""
    assert admit(SERVICE) == admit(
        put(SERVICE, {"metadata.creationTimestamp": None, "spec.template.spec.volumes[0].secret": None})
    )
