"""Which events a Trigger wants: Knative's `filter.attributes` and the dialects of `filters`, as pure functions.

Called by the broker for every event and Trigger. Source: Knative Eventing 1.23, `pkg/eventfilter/subscriptionsapi` and
`pkg/eventfilter/attributes`; the CloudEvents Subscriptions API 1.0, section 3.2.4. CESQL is refused at admission.

A filter passes, fails, or says nothing (None), as Knative's do: an event is wanted unless the whole of its filters fails.
Only an empty `not` says nothing, and what is made of it alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

Attributes = Mapping[str, str]
Filter = Callable[[Attributes], bool]
Verdict: TypeAlias = bool | None
Part: TypeAlias = Callable[[Attributes], Verdict]


def wanted(trigger_spec: Mapping[str, Any]) -> Filter:
    """The filter of a Trigger's spec. A non-empty `filters` overrides `filter`; neither wants everything."""
    if filters := trigger_spec.get("filters"):
        part = _all(filters)
        return lambda event: part(event) is not False
    return _legacy((trigger_spec.get("filter") or {}).get("attributes") or {})


def _legacy(expected: Attributes) -> Filter:
    """Exact values, of which "" stands for any value; an attribute that is there and empty has none."""
    return lambda event: all(
        event.get(name) == value if value else bool(event.get(name)) for name, value in expected.items()
    )


def _exact(expected: Attributes) -> Part:
    if len(expected) == 1:  # most Triggers, and asked for each event
        ((only, wanted_value),) = expected.items()
        return lambda event: event.get(only) == wanted_value
    return lambda event: all(event.get(name) == value for name, value in expected.items())


def _prefix(expected: Attributes) -> Part:
    return lambda event: all(name in event and event[name].startswith(value) for name, value in expected.items())


def _suffix(expected: Attributes) -> Part:
    return lambda event: all(name in event and event[name].endswith(value) for name, value in expected.items())


def _all(filters: Sequence[Mapping[str, Any]]) -> Part:
    """Fails when one fails, otherwise says what the last says (`all_filter.go`, Filter)."""
    return _until(verdict=False, parts=_parts(filters))


def _any(filters: Sequence[Mapping[str, Any]]) -> Part:
    """Passes when one passes, otherwise says what the last says (`any_filter.go`, Filter)."""
    return _until(verdict=True, parts=_parts(filters))


def _until(*, verdict: bool, parts: Sequence[Part]) -> Part:
    if len(parts) == 1:
        return parts[0]

    def decide(event: Attributes) -> Verdict:
        found: Verdict = None
        for part in parts:
            found = part(event)
            if found is verdict:
                break
        return found

    return decide


def _not(inner: Mapping[str, Any]) -> Part:
    part = _dialect(inner) or _silent

    def turned(event: Attributes) -> Verdict:
        found = part(event)
        return None if found is None else not found

    return turned


def _silent(_: Attributes) -> Verdict:
    return None


# In the order in which Knative looks for the one that is used (`create.go`, MaterializeSubscriptionsAPIFilter).
DIALECTS: Final[Mapping[str, Callable[[Any], Part]]] = {
    "exact": _exact,
    "prefix": _prefix,
    "suffix": _suffix,
    "all": _all,
    "any": _any,
}


def _parts(filters: Sequence[Mapping[str, Any]]) -> Sequence[Part]:
    """Filters that name no dialect are skipped (`create.go`, MaterializeFiltersList)."""
    return [part for each in filters if (part := _dialect(each)) is not None]


def _dialect(filter_object: Mapping[str, Any]) -> Part | None:
    """One filter object; None when it names no dialect, or an empty one. `not` counts even when it is empty."""
    for dialect, made_of in DIALECTS.items():
        if argument := filter_object.get(dialect):
            return made_of(argument)
    return _not(filter_object["not"]) if filter_object.get("not") is not None else None
