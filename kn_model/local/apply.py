"""Makes the store's objects what the manifests say, as `kubectl apply --prune` does. Called by the supervisor.

What people and functions made (models' services, routes) is not in the manifests and stays. What an earlier run applied
and the manifests no longer have goes. An object that somebody changed since stays changed until its manifest changes.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Final

from kn_model.local.admission import definitions
from kn_model.local.admission.admit import admit
from kn_model.local.admission.supported import check
from kn_model.local.api.errors import ApiError, BadRequest
from kn_model.local.generated_secrets import is_generated
from kn_model.local.objects import kinds
from kn_model.local.objects.kinds import Kind, Object, UnknownKind, kind_of
from kn_model.local.objects.store import ObjectStore

# Says that an object came from a manifest, and from which text.
APPLIED: Final = "torpor.dev/applied"

# What others refer to comes first, as `kubectl apply -k` orders it too.
FIRST: Final = (
    kinds.NAMESPACE,
    kinds.CUSTOM_RESOURCE_DEFINITION,
    kinds.SERVICE_ACCOUNT,
    kinds.SECRET,
    kinds.CONFIG_MAP,
    kinds.JOB,
)


class ManifestError(Exception):
    """Manifests that cannot run here; one line for each problem, naming object and field."""


def checked(objects: Iterable[Object]) -> Sequence[Object]:
    """The objects as they are stored, defaults included, in the order to apply them. ManifestError names all problems."""
    problems: list[str] = []
    defined: list[Kind] = []
    admitted = [obj for each in sorted(objects, key=_order) if (obj := _checked(each, defined, problems)) is not None]
    if problems:
        raise ManifestError("\n".join(problems))
    return admitted


async def apply(store: ObjectStore, objects: Iterable[Object]) -> None:
    """Create what is missing, replace what has another manifest now, leave the rest alone."""
    for obj in objects:
        kind, metadata = kind_of(obj, store.custom_kinds()), obj["metadata"]
        found = store.find(kind, metadata.get("namespace", ""), metadata["name"])
        marked = _marked(obj)
        if found is None:
            await store.create(marked)
        elif _mark(found) != _mark(marked):
            await _replace(store, kind, found, marked)


async def ensure(store: ObjectStore, obj: Object, *, renew: bool) -> None:
    """Create an object that the runtime itself makes; with `renew`, also make an older one of ours true again."""
    kind, metadata = kind_of(obj), obj["metadata"]
    found = store.find(kind, metadata.get("namespace", ""), metadata["name"])
    if found is None:
        await store.create(obj)
    elif renew and is_generated(found):
        await store.update({**found, "data": obj["data"]})


async def prune(store: ObjectStore, objects: Iterable[Object]) -> None:
    """Delete what an earlier run applied and `objects` no longer have."""
    defined = [kinds.defined_by(obj) for obj in objects if is_a(kinds.CUSTOM_RESOURCE_DEFINITION, obj)]
    wanted = {_identity(obj, kind_of(obj, defined)) for obj in objects}
    for kind in (*kinds.BUILT_IN, *store.custom_kinds()):
        for found in store.list(kind):
            if _mark(found) and _identity(found, kind) not in wanted:
                await store.delete(kind, found["metadata"].get("namespace", ""), found["metadata"]["name"])


def is_a(kind: Kind, obj: Object) -> bool:
    """Whether an object is of a kind; it may be of one that only a definition knows."""
    return (obj.get("apiVersion"), obj.get("kind")) == (kind.api_version, kind.kind)


def _order(obj: Object) -> int:
    return next((place for place, kind in enumerate(FIRST) if is_a(kind, obj)), len(FIRST))


def _checked(obj: Object, defined: list[Kind], problems: list[str]) -> Object | None:
    """`defined` are the kinds that definitions before this object added; one more when it is a definition itself."""
    name = f"{obj.get('kind')}/{(obj.get('metadata') or {}).get('name')}"
    if found := check(obj):
        problems += [f"{name}: {problem}" for problem in found]
        return None
    try:
        kind = kind_of(obj, defined)
        if kind.schema is not None:
            return _of_defined_kind(kind, obj)
        admitted = admit(obj)
        if kind == kinds.CUSTOM_RESOURCE_DEFINITION:
            defined.append(kinds.defined_by(admitted))
    except (ApiError, UnknownKind) as error:
        problems.append(f"{name}: {error}")
        return None
    return admitted


def _of_defined_kind(kind: Kind, obj: Object) -> Object:
    kept, unknown = definitions.decoded(kind, obj)
    definitions.require_valid(kind, kept)
    if unknown:
        raise BadRequest(f"unknown field: {', '.join(unknown)}")
    return kept


async def _replace(store: ObjectStore, kind: Kind, found: Object, wanted: Object) -> None:
    """A Job's template cannot be changed, so it is made again; anything else keeps its identity."""
    metadata = found["metadata"]
    if kind == kinds.JOB:
        await store.delete(kind, metadata["namespace"], metadata["name"])
        await store.create(wanted)
        return
    labels = {**(metadata.get("labels") or {}), **(wanted["metadata"].get("labels") or {})}
    annotations = {**(metadata.get("annotations") or {}), **wanted["metadata"]["annotations"]}
    await store.update({**wanted, "metadata": {**metadata, "labels": labels, "annotations": annotations}})


def _marked(obj: Object) -> Object:
    # Without the status that admission gives a definition: its times are those of this start.
    text = json.dumps({name: value for name, value in obj.items() if name != "status"}, sort_keys=True)
    mark = {APPLIED: hashlib.sha256(text.encode()).hexdigest()}
    metadata = obj["metadata"]
    return {**obj, "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), **mark}}}


def _mark(obj: Object) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(APPLIED, ""))


def _identity(obj: Object, kind: Kind) -> tuple[str, str, str]:
    metadata = obj["metadata"]
    return kind.key, metadata.get("namespace", "") if kind.namespaced else "", metadata["name"]
