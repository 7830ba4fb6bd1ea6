"""Refuses, by name, what the laptop runtime does not honour: nothing in a manifest is silently without effect.

`check` is called by the API on every write and by the manifest tests; the table is `supported_fields`, the page made
from it docs/supported.md (`python -m kn_model.local.admission.supported > docs/supported.md`). Pure.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from kn_model.local.admission.supported_fields import ELSEWHERE, FIELDS, KEPT_ONLY, METADATA, Field, Honour
from kn_model.local.objects.kinds import Kind, UnknownKind, kind_of

_NUMBER: Final = (int, float)
_TYPES: Final[Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    "any": ("anything", lambda value: value is not None),
    "boolean": ("a boolean", lambda value: isinstance(value, bool)),
    "integer": ("an integer", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "list": ("a list", lambda value: isinstance(value, list)),
    "map": ("a map of strings", lambda value: _map_of(value, str)),
    "object": ("an object", lambda value: isinstance(value, Mapping)),
    "port": ("a port", lambda value: isinstance(value, str | int) and not isinstance(value, bool)),
    "quantities": ("a map of quantities", lambda value: _map_of(value, (str, *_NUMBER))),
    "quantity": ("a quantity", lambda value: isinstance(value, (str, *_NUMBER)) and not isinstance(value, bool)),
    "string": ("a string", lambda value: isinstance(value, str)),
    "strings": ("a list of strings", lambda value: isinstance(value, list) and all(isinstance(v, str) for v in value)),
}
# Annotations and labels of other domains are their owners'; those of Knative mean something or are refused.
_OWNED_DOMAIN: Final = "knative.dev"
_CLIENTS_DOMAIN: Final = "client.knative.dev"


def _map_of(value: Any, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, Mapping) and all(isinstance(item, kinds) for item in value.values())


@dataclass(frozen=True, slots=True)
class Problem:
    """One field that cannot be honoured, or whose value has the wrong type."""

    path: str
    text: str
    of_shape: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


@dataclass(slots=True)
class _Node:
    """A place in the shape of a kind: what is known below it."""

    leaf: Field | None = None
    children: dict[str, "_Node"] = field(default_factory=dict)
    items: "_Node | None" = None
    keys: dict[str, Field] = field(default_factory=dict)


def check(obj: Mapping[str, Any]) -> list[str]:
    """What of `obj` this runtime does not honour, one sentence each; empty when it can run as written."""
    return [str(problem) for problem in _problems(obj)]


def misshapen(obj: Mapping[str, Any]) -> list[str]:
    """Only the fields whose values have the wrong type, as an API server would refuse them."""
    return [str(problem) for problem in _problems(obj) if problem.of_shape]


def pruned(obj: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `obj` without the fields that no cluster's schema has either, as an API server drops them."""
    try:
        kind = kind_of(obj)
    except UnknownKind:
        return dict(obj)
    return dict(_kept(_shape(kind), obj, "", frozenset(ELSEWHERE.get(kind, ())))) if kind in FIELDS else dict(obj)


def _kept(node: _Node, value: Any, path: str, elsewhere: frozenset[str]) -> Any:
    if isinstance(value, list) and node.items:
        return [_kept(node.items, item, f"{path}[]", elsewhere) for item in value]
    if not isinstance(value, Mapping) or not node.children:
        return value
    below = {name: f"{path}.{name}" if path else name for name in value}
    return {
        name: item if below[name] in elsewhere else _kept(node.children[name], item, below[name], elsewhere)
        for name, item in value.items()
        if name in node.children or below[name] in elsewhere
    }


def _problems(obj: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        kind = kind_of(obj)
    except UnknownKind:
        # A kind of somebody's CRD, or none at all: the API knows which.
        return
    if kind not in FIELDS:
        # Kept without effect, as KEPT_ONLY says: nothing of it can be honoured or not.
        return
    yield from _walk(_shape(kind), obj, "")


@cache
def _shape(kind: Kind) -> _Node:
    root = _Node()
    for each in (*METADATA, *FIELDS[kind]):
        path, _, key = each.path.partition("{")
        node = _reach(root, path)
        if key:
            node.keys[key.removesuffix("}")] = each
        elif each.type.startswith("@"):
            original = _reach(root, each.type.removeprefix("@"))
            node.children, node.items = original.children, original.items
            node.leaf = Field(each.path, "list" if original.items else "object")
        else:
            node.leaf = each
    return root


def _reach(node: _Node, path: str) -> _Node:
    for part in path.split("."):
        node = node.children.setdefault(part.removesuffix("[]"), _Node())
        if part.endswith("[]"):
            node.items = node.items or _Node()
            node = node.items
    return node


def _walk(node: _Node, value: Any, path: str) -> Iterator[Problem]:
    if value is None:
        return
    words, fits = _TYPES[_expected(node)]
    if not fits(value):
        yield Problem(path, f"expected {words}, got {type(value).__name__}", of_shape=True)
        return
    if node.leaf and node.leaf.honour is Honour.REFUSED:
        yield Problem(path, f"is not supported here: {node.leaf.note}" if node.leaf.note else "is not supported here")
        yield from (problem for problem in _below(node, value, path) if problem.of_shape)
        return
    if node.leaf:
        yield from _limits(node.leaf, value, path)
    yield from _below(node, value, path)


def _below(node: _Node, value: Any, path: str) -> Iterator[Problem]:
    if _expected(node) == "map":
        yield from _keys(node, value, path)
    elif isinstance(value, list) and node.items:
        for index, item in enumerate(value):
            if item is None:
                yield Problem(f"{path}[{index}]", "expected an item, got null", of_shape=True)
            yield from _walk(node.items, item, f"{path}[{index}]")
    elif isinstance(value, Mapping) and node.children:
        yield from _children(node, value, path)


def _expected(node: _Node) -> str:
    if node.leaf and not node.keys:
        return node.leaf.type
    if node.keys:
        return "map"
    return "list" if node.items else "object"


def _limits(leaf: Field, value: Any, path: str) -> Iterator[Problem]:
    if leaf.only and str(value) not in leaf.only:
        words = " or ".join(word for word in leaf.only if word)
        yield Problem(path, f"{value} is not supported here, only {words}")
    if leaf.at_most and len(value) > leaf.at_most:
        yield Problem(path, f"{len(value)} are not supported here, at most {leaf.at_most}")


def _keys(node: _Node, value: Mapping[str, str], path: str) -> Iterator[Problem]:
    for key, text in value.items():
        domain = key.partition("/")[0]
        if key in node.keys:
            yield from _limits(node.keys[key], text, f"{path}[{key}]")
        elif domain.endswith(_OWNED_DOMAIN) and domain != _CLIENTS_DOMAIN and "/" in key:
            yield Problem(f"{path}[{key}]", "is not supported here")


def _children(node: _Node, value: Mapping[str, Any], path: str) -> Iterator[Problem]:
    for name, item in value.items():
        below = f"{path}.{name}" if path else name
        if name in node.children:
            yield from _walk(node.children[name], item, below)
        elif item is not None:
            yield Problem(below, "is not supported here")
    for name, child in node.children.items():
        if child.leaf and child.leaf.required and not value.get(name):
            yield Problem(f"{path}.{name}", f"is required here: {child.leaf.note}")


def page() -> str:
    """docs/supported.md: the table as people read it."""
    lines = [
        "# What the laptop runtime honours",
        "",
        "`kn model up` runs the same manifests as a cluster. A field that is not on this page is refused by name, never",
        "dropped in silence. Generated from `kn_model/local/admission/supported_fields.py`; a test compares the two.",
        "",
        "`[]` is every item of a list, `{key}` one annotation or label. Other annotations and labels of Knative's own",
        "domains are refused, except `client.knative.dev`; all other domains pass. `metadata` and `status` are Kubernetes'.",
        *_API,
    ]
    for kind, fields in FIELDS.items():
        lines += ["", f"## {kind.kind} (`{kind.api_version}`)", "", "| field | here | note |", "| --- | --- | --- |"]
        refused = tuple(f"{each.path}{mark}" for each in fields if each.honour is Honour.REFUSED for mark in ".[")
        lines += [_row(each) for each in fields if not each.path.startswith(refused)]
    lines += ["", "## Kept, without effect", "", "| kind | why |", "| --- | --- |"]
    lines += [f"| {kind} (`{version}`) | {why} |" for (version, kind), why in KEPT_ONLY.items()]
    return "\n".join(lines) + "\n"


_API: Final = (
    "",
    "## The API itself",
    "",
    "The unmodified `kubectl` and `kn` work against it: `get`, `list`, `watch`, `create`, `update`, `delete`, merge patches (and",
    "strategic ones for core kinds), `status`, label selectors, `metadata.name` and `metadata.namespace` as field selectors,",
    "`dryRun=All`, Tables, discovery, `explain` for defined kinds. Refused by name: server-side apply, JSON patches, protobuf.",
    "RBAC objects are kept and not enforced: whoever holds a token of this runtime may do everything.",
    "",
    "- `fieldValidation`: `Strict` refuses unknown and repeated fields (kubectl asks for it), `Warn` drops them and says so (it is",
    "  what a client gets that says nothing, kn for one), `Ignore` drops them. What a cluster knows and this runtime does not is",
    "  never dropped: the webhooks judge it, and `Warn` names it.",
    "- Defaults and refusals are those of the webhooks of Knative Serving and Eventing 1.23, in their words.",
    "- Kinds that a CustomResourceDefinition adds are validated, pruned and defaulted by its schema, and printed by its columns.",
    "- Revisions without traffic go as the ConfigMap `config-gc` in `knative-serving` says; without one, as after a fresh",
    "  installation. `serving.knative.dev/no-gc` keeps one.",
    "- A caller is held while a server wakes, for as long as `responseStartTimeoutSeconds` allows; then 503, `Retry-After` and the",
    "  `phase` (`starting`, `busy`, `deploying`, `failed`) in a problem document whose `error` OpenAI's clients read.",
)


def _row(each: Field) -> str:
    only = " or ".join(f"`{word}`" for word in each.only if word)
    note = "; ".join(part for part in (f"only {only}" if only else "", each.note) if part)
    return f"| `{each.path}` | {each.honour.value} | {note} |"


if __name__ == "__main__":
    sys.stdout.write(page())
