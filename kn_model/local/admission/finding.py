"""What a webhook finds wrong with an object, worded as Knative words it, so that a message can be searched for.

Every rule of the other modules here yields `Finding`s with paths relative to the value it was given; the caller puts its own
path in front with `under`. Wording: knative.dev/pkg `apis/field_error.go`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

INT32_MAX: Final = 2_147_483_647


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: the message, the fields it is about and an optional explanation."""

    message: str
    paths: tuple[str, ...] = ("",)
    details: str = ""

    def __str__(self) -> str:
        text = f"{self.message}: {', '.join(self.paths)}"
        return f"{text}\n{self.details}" if self.details else text


Findings: TypeAlias = Iterator[Finding]


def under(prefix: str, findings: Iterable[Finding]) -> Findings:
    """The same findings, seen from the field's parent: `under("spec", ...)` turns `traffic[0]` into `spec.traffic[0]`."""
    for finding in findings:
        yield replace(finding, paths=tuple(_join(prefix, path) for path in finding.paths))


def missing(*fields: str) -> Finding:
    """A field that has to be there."""
    return Finding("missing field(s)", fields)


def disallowed(*fields: str) -> Finding:
    """A field that exists in Kubernetes and may not be set in a Knative object."""
    return Finding("must not set the field(s)", fields)


def invalid(value: object, field: str, details: str = "") -> Finding:
    """A value that the field cannot have."""
    return Finding(f"invalid value: {value}", (field,), details)


def out_of_bounds(value: object, lower: object, upper: object, field: str) -> Finding:
    """A number outside its range."""
    return Finding(f"expected {lower} <= {value} <= {upper}", (field,))


def missing_one_of(*fields: str) -> Finding:
    """None of several alternatives is set."""
    return Finding("expected exactly one, got neither", fields)


def multiple_one_of(*fields: str) -> Finding:
    """More than one of several alternatives is set."""
    return Finding("expected exactly one, got both", fields)


def invalid_key(key: str, field: str, details: str = "") -> Finding:
    """A key that may not appear in this map."""
    return Finding(f'invalid key name "{key}"', (field,), details)


def _join(prefix: str, path: str) -> str:
    if not path or not prefix:
        return prefix or path
    return f"{prefix}{path}" if path.startswith("[") else f"{prefix}.{path}"
