"""Label and field selectors, as the `labelSelector` and `fieldSelector` parameters of the Kubernetes API spell them.

Pure; used by the store's lists and watches and by ApiServerSource. Grammar: k8s.io/apimachinery `pkg/labels/selector.go`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from kn_model.local.objects.kinds import Kind

Matches = Callable[[Mapping[str, Any]], bool]
"""Says of an object whether a selector takes it."""

_SET_BASED = re.compile(r"^(?P<key>[^\s!=]+)\s+(?P<verb>in|notin)\s+\((?P<values>[^)]*)\)$")
_EQUALITY = re.compile(r"^(?P<key>[^\s!=]+)\s*(?P<verb>!=|==|=)\s*(?P<value>\S*)$")
_EXISTENCE = re.compile(r"^(?P<not>!?)\s*(?P<key>[^\s!=()]+)$")
_COMMA_OUTSIDE_PARENTHESES = re.compile(r",(?![^(]*\))")


class BadSelector(ValueError):
    """The selector cannot be understood."""


def by_labels(selector: str) -> Matches:
    """A predicate over an object's labels. Empty takes all. Raises BadSelector."""
    requirements = [_requirement(part.strip()) for part in _COMMA_OUTSIDE_PARENTHESES.split(selector) if part.strip()]

    def matches(obj: Mapping[str, Any]) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return all(requirement(labels) for requirement in requirements)

    return matches


def _requirement(text: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SET_BASED.match(text):
        key = found["key"]
        values = {value.strip() for value in found["values"].split(",")}
        if found["verb"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUALITY.match(text):
        key, value = found["key"], found["value"]
        if found["verb"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _EXISTENCE.match(text):
        key, wanted = found["key"], not found["not"]
        return lambda labels: (key in labels) is wanted
    raise BadSelector(f"unable to parse requirement: {text!r}")


def require_selectable(kind: Kind, selector: str) -> None:
    """Raises BadSelector for a field that an API server does not select by: of objects of CRDs, all but name and namespace."""
    for part in filter(None, map(str.strip, selector.split(","))):
        path = _field_requirement(part)[0]
        if "." in kind.group and path not in ("metadata.name", "metadata.namespace"):
            raise BadSelector(f"field label not supported: {path}")


def by_fields(selector: str) -> Matches:
    """A predicate over fields by dotted path (`metadata.name=x,metadata.namespace!=y`). Raises BadSelector."""
    requirements = [_field_requirement(part.strip()) for part in selector.split(",") if part.strip()]

    def matches(obj: Mapping[str, Any]) -> bool:
        return all((_field(obj, path) == value) is wanted for path, value, wanted in requirements)

    return matches


def _field_requirement(text: str) -> tuple[str, str, bool]:
    found = _EQUALITY.match(text)
    if not found:
        raise BadSelector(f"invalid field selector: {text!r}")
    return found["key"], found["value"], found["verb"] != "!="


def _field(obj: Mapping[str, Any], path: str) -> str:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return "" if value is None else str(value)
