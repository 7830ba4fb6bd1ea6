"""Kubernetes' strategic merge patch, as `kubectl apply` and `kubectl edit` send it for built-in kinds. Pure.

It is a merge patch whose lists may merge by a key. Which key, a server looks up in its types; a client also says it, by the
order list that it sends along (`$setElementOrder/containers: [{name: a}]`), and that is what is used here.
Source: Kubernetes `staging/src/k8s.io/apimachinery/pkg/util/strategicpatch/patch.go`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

_ORDER: Final = "$setElementOrder/"
_DELETE_PRIMITIVES: Final = "$deleteFromPrimitiveList/"


def strategic_merge(target: Any, patch: Any) -> Any:
    """`target` with the patch applied; directives are followed and do not end up in the result."""
    if not isinstance(patch, Mapping):
        return patch
    if patch.get("$patch") == "replace":
        return {key: value for key, value in patch.items() if not key.startswith("$")}
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if key.startswith(_DELETE_PRIMITIVES):
            field = key.removeprefix(_DELETE_PRIMITIVES)
            result[field] = [item for item in result.get(field, []) if item not in value]
        elif not key.startswith("$"):
            _merge_field(result, key, value, patch.get(_ORDER + key))
    if retained := patch.get("$retainKeys"):
        result = {key: value for key, value in result.items() if key in retained}
    return result


def _merge_field(result: dict[str, Any], key: str, value: Any, order: Sequence[Any] | None) -> None:
    if value is None:
        result.pop(key, None)
    elif isinstance(value, list) and order is not None:
        result[key] = _merge_list(result.get(key) or [], value, order)
    else:
        result[key] = strategic_merge(result.get(key), value)


def _merge_list(old: Sequence[Any], patch: Sequence[Any], order: Sequence[Any]) -> list[Any]:
    if not order or not isinstance(order[0], Mapping):
        return [item for item in order if item in old or item in patch]
    merge_key = next(iter(order[0]))
    items = {item[merge_key]: item for item in old}
    for item in patch:
        identity = item[merge_key]
        if item.get("$patch") == "delete":
            items.pop(identity, None)
        else:
            items[identity] = strategic_merge(items.get(identity), item)
    wanted = [item[merge_key] for item in order]
    return sorted(
        items.values(), key=lambda item: wanted.index(item[merge_key]) if item[merge_key] in wanted else len(wanted)
    )
