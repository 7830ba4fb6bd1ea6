"""Structural schemas of custom resources: which fields are kept, what is filled in, what is refused. Pure.

Called by `admission.definitions` for kinds that a CustomResourceDefinition adds. Rules and wording:
k8s.io/apiextensions-apiserver `pkg/apiserver/{schema,validation}`. What cannot be judged here (CEL) `definitions` refuses
when the definition is applied, so that no rule is skipped in silence.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Json = Mapping[str, Any]

KEEP: Final = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING: Final = "x-kubernetes-int-or-string"


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is wrong, as `details.causes` of a Status names it."""

    reason: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field or '<nil>'}: {self.message}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
    "number": _is_number,
}


def pruned(schema: Json, value: Any, path: str = "") -> tuple[Any, list[str]]:
    """`value` without the fields that the schema does not know, and the paths of those."""
    if isinstance(value, list):
        items = [pruned(schema.get("items", {}), item, f"{path}[{index}]") for index, item in enumerate(value)]
        return [kept for kept, _ in items], [gone for _, unknown in items for gone in unknown]
    if not isinstance(value, Mapping):
        return value, []
    properties, extra = schema.get("properties", {}), schema.get("additionalProperties")
    kept: dict[str, Any] = {}
    unknown: list[str] = []
    for name, item in value.items():
        below = properties.get(name, extra if isinstance(extra, Mapping) else None)
        where = f"{path}.{name}" if path else name
        if below is not None:
            kept[name], gone = pruned(below, item, where)
            unknown += gone
        elif schema.get(KEEP) or extra is True:
            kept[name] = item
        else:
            unknown.append(where)
    return kept, unknown


def defaulted(schema: Json, value: Any) -> Any:
    """`value` with the schema's defaults where nothing is said; a null where null is not allowed says nothing."""
    if isinstance(value, list):
        return [defaulted(schema.get("items", {}), item) for item in value]
    if not isinstance(value, Mapping):
        return value
    properties, extra = schema.get("properties", {}), schema.get("additionalProperties")
    given = {
        name: item
        for name, item in value.items()
        if item is not None or name not in properties or "default" not in properties[name]
    }
    filled = {name: below["default"] for name, below in properties.items() if "default" in below and name not in given}
    others = extra if isinstance(extra, Mapping) else {}
    return {name: defaulted(properties.get(name, others), item) for name, item in (given | filled).items()}


def problems(schema: Json, value: Any, path: str = "") -> Iterator[Cause]:
    """What the schema finds wrong with a pruned, defaulted value."""
    if value is None and schema.get("nullable"):
        return
    expected = schema.get("type", "")
    if expected and not _TYPES[expected](value):
        text = f"{path} in body must be of type {expected}: {_json_type(value)!r}".replace("'", '"')
        yield Cause("FieldValueTypeInvalid", path, f"Invalid value: {_json_type(value)!r}: {text}".replace("'", '"'))
        return
    if schema.get(INT_OR_STRING) and not (_TYPES["integer"](value) or isinstance(value, str)):
        yield _invalid(path, value, "must be of type integer or string")
    yield from _of_value(schema, value, path)
    if isinstance(value, Mapping):
        yield from _of_object(schema, value, path)
    if isinstance(value, list):
        yield from _of_list(schema, value, path)
    yield from _combined(schema, value, path)


def _of_value(schema: Json, value: Any, path: str) -> Iterator[Cause]:
    if "enum" in schema and value not in schema["enum"]:
        listed = ", ".join(f'"{word}"' for word in schema["enum"])
        yield Cause("FieldValueNotSupported", path, f'Unsupported value: "{value}": supported values: {listed}')
    if _is_number(value):
        yield from _bounds(schema, value, path)
    if isinstance(value, str):
        pattern = schema.get("pattern")
        if len(value) < schema.get("minLength", 0):
            yield _invalid(path, value, f"should be at least {schema['minLength']} chars long")
        if len(value) > schema.get("maxLength", len(value)):
            yield _invalid(path, value, f"should be at most {schema['maxLength']} chars long")
        if pattern is not None and not re.search(pattern, value):
            yield _invalid(path, value, f"should match '{pattern}'")


def _bounds(schema: Json, value: float, path: str) -> Iterator[Cause]:
    lower, upper, step = schema.get("minimum"), schema.get("maximum"), schema.get("multipleOf")
    if lower is not None and (value < lower or (schema.get("exclusiveMinimum") and value == lower)):
        words = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        yield _invalid(path, value, f"should be {words} {lower}")
    if upper is not None and (value > upper or (schema.get("exclusiveMaximum") and value == upper)):
        words = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        yield _invalid(path, value, f"should be {words} {upper}")
    if step is not None and value % step:
        yield _invalid(path, value, f"should be a multiple of {step}")


def _of_object(schema: Json, value: Json, path: str) -> Iterator[Cause]:
    properties, extra = schema.get("properties", {}), schema.get("additionalProperties")
    for name in schema.get("required", ()):
        if name not in value:
            yield Cause("FieldValueRequired", _join(path, name), "Required value")
    if len(value) < schema.get("minProperties", 0):
        yield _invalid(path, len(value), f"should have at least {schema['minProperties']} properties")
    if len(value) > schema.get("maxProperties", len(value)):
        yield _invalid(path, len(value), f"should have at most {schema['maxProperties']} properties")
    for name, item in value.items():
        below = properties.get(name, extra)
        if isinstance(below, Mapping):
            yield from problems(below, item, _join(path, name))


def _of_list(schema: Json, value: Sequence[Any], path: str) -> Iterator[Cause]:
    if len(value) < schema.get("minItems", 0):
        yield _invalid(path, len(value), f"should have at least {schema['minItems']} items")
    if len(value) > schema.get("maxItems", len(value)):
        yield _invalid(path, len(value), f"should have at most {schema['maxItems']} items")
    if schema.get("uniqueItems") and any(item in value[:index] for index, item in enumerate(value)):
        yield _invalid(path, value, "shouldn't contain duplicates")
    for index, item in enumerate(value):
        yield from problems(schema.get("items", {}), item, f"{path}[{index}]")


def _combined(schema: Json, value: Any, path: str) -> Iterator[Cause]:
    for part in schema.get("allOf", ()):
        yield from problems(part, value, path)
    if "anyOf" in schema and not _fitting(schema["anyOf"], value, path):
        text = f'"{path}" must validate at least one schema (anyOf): {_alternatives(schema["anyOf"])}'
        yield Cause("FieldValueInvalid", path, f"Invalid value: {text}")
    if "oneOf" in schema and _fitting(schema["oneOf"], value, path) != 1:
        text = f'"{path}" must validate one and only one schema (oneOf): {_alternatives(schema["oneOf"])}'
        yield Cause("FieldValueInvalid", path, f"Invalid value: {text}")
    if "not" in schema and not any(problems(schema["not"], value, path)):
        yield _invalid(path, value, "must not validate the schema (not)")


def _fitting(parts: Sequence[Json], value: Any, path: str) -> int:
    return sum(not any(problems(part, value, path)) for part in parts)


def _alternatives(parts: Sequence[Json]) -> str:
    """What a person may choose between, where the alternatives are fields."""
    return " | ".join(", ".join(part.get("required", ["..."])) for part in parts)


def _invalid(path: str, value: Any, text: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return Cause("FieldValueInvalid", path, f"Invalid value: {shown}: {path} in body {text}")


def _json_type(value: Any) -> str:
    return "null" if value is None else next((name for name, fits in _TYPES.items() if fits(value)), "unknown")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
