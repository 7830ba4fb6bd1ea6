"""Which events a Trigger wants: Knative's `filter.attributes` and the dialects of `filters`, as pure functions.

Called by the broker for every event and Trigger. Source: Knative Eventing 1.23, `pkg/eventfilter/subscriptionsapi` and
`pkg/eventfilter/attributes`; the CloudEvents Subscriptions API 1.0, section 3.2.4. CESQL is refused at admission.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

Attributes = Mapping[str, str]
Filter = Callable[[Attributes], bool]


def wanted(trigger_spec: Mapping[str, Any]) -> Filter:
    """The filter of a Trigger's spec. A non-empty `filters` overrides `filter`; neither wants everything."""
    if filters := trigger_spec.get("filters"):
        return _all(filters)
    return _legacy((trigger_spec.get("filter") or {}).get("attributes") or {})


def _legacy(expected: Attributes) -> Filter:
    """Exact values, of which "" stands for any value of an attribute that is there."""
    return lambda event: all(name in event and value in ("", event[name]) for name, value in expected.items())


def _exact(expected: Attributes) -> Filter:
    return lambda event: all(event.get(name) == value for name, value in expected.items())


def _prefix(expected: Attributes) -> Filter:
    return lambda event: all(name in event and event[name].startswith(value) for name, value in expected.items())


def _suffix(expected: Attributes) -> Filter:
    return lambda event: all(name in event and event[name].endswith(value) for name, value in expected.items())


def _all(filters: Sequence[Mapping[str, Any]]) -> Filter:
    parts = [_dialect(each) for each in filters]
    return lambda event: all(part(event) for part in parts)


def _any(filters: Sequence[Mapping[str, Any]]) -> Filter:
    parts = [_dialect(each) for each in filters]
    return lambda event: any(part(event) for part in parts)


def _not(inner: Mapping[str, Any]) -> Filter:
    part = _dialect(inner)
    return lambda event: not part(event)


DIALECTS: Final[Mapping[str, Callable[[Any], Filter]]] = {
    "exact": _exact,
    "prefix": _prefix,
    "suffix": _suffix,
    "all": _all,
    "any": _any,
    "not": _not,
}


def _dialect(filter_object: Mapping[str, Any]) -> Filter:
    """One filter object. Admission has made sure that it names one dialect, and one that is in the table."""
    ((dialect, argument),) = filter_object.items()
    return DIALECTS[dialect](argument)
