"""Makes the cluster agree with an object: create or update with optimistic concurrency, and delete what is ours.

Called by the handler of `server.requested`. Every step can be repeated: killed after any call, the next try converges.
Annotations and labels of others (Knative's creator, kn's, kubectl's) stay as they are.
"""

import copy
from collections.abc import Mapping
from typing import Any, Final, Protocol

from functions.kit import kube
from functions.kit.kube import Json, KubeError
from functions.kit.problem import Retry
from functions.serve import traces
from functions.serve.service import SERVER_LABEL

# Of others who write at the same time (Knative's controllers), one or two get in between.
ATTEMPTS: Final = 5
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_NO_GC: Final = "serving.knative.dev/no-gc"
_PLURALS: Final[Mapping[str, str]] = {"Service": "services", "HTTPRoute": "httproutes"}
_SERVED: Final[Mapping[str, str]] = {"Service": "services", "Revision": "revisions"}


class Kubernetes(Protocol):
    """The verbs used here; `kit.kube.Kube` has them. Raises KubeError for refusals, Retry for bad luck."""

    async def get(self, resource: str, **query: str) -> Json | None:
        """The object or list, or None when absent."""
        ...

    async def create(self, collection: str, body: Mapping[str, Any]) -> Json:
        """Create it."""
        ...

    async def replace(self, resource: str, body: Mapping[str, Any]) -> Json:
        """Replace it, if it has not changed since it was read."""
        ...

    async def delete(self, resource: str) -> bool:
        """Delete it."""
        ...


class Foreign(Exception):
    """An object of this name exists and belongs to somebody else; the message says which."""


def collection(manifest: Mapping[str, Any]) -> str:
    """The path of the collection that an object belongs to."""
    return kube.path(manifest["apiVersion"], _PLURALS[manifest["kind"]], manifest["metadata"]["namespace"])


def served(kind: str, namespace: str) -> str:
    """The path of Knative's own objects of a kind: Service or Revision."""
    return kube.path("serving.knative.dev/v1", _SERVED[kind], namespace)


async def apply(api: Kubernetes, desired: Json) -> Json:
    """Create the object, or change the one that is there. Answers it as the API has it now.

    Raises Foreign, KubeError when the API refuses it, Retry when others keep changing it or it is being deleted.
    """
    resource = f"{collection(desired)}/{desired['metadata']['name']}"
    for _ in range(ATTEMPTS):
        existing = await api.get(resource)
        try:
            if existing is None:
                return await api.create(collection(desired), desired)
            _require_ours(existing, desired)
            merged = merge(existing, desired)
            return existing if merged == existing else await api.replace(resource, merged)
        except KubeError as error:
            # Somebody was faster (409), or it went away in between (404 of a PUT): look again.
            if error.status != _CONFLICT and not (error.status == _NOT_FOUND and existing is not None):
                raise
    raise Retry(1, f"{desired['kind']} {desired['metadata']['name']} keeps changing; try again")


async def remove(api: Kubernetes, manifest: Json) -> None:
    """Delete the object, unless another server has its name by now."""
    resource = f"{collection(manifest)}/{manifest['metadata']['name']}"
    existing = await api.get(resource)
    if existing is not None and _owner(existing) == _owner(manifest):
        await api.delete(resource)


async def keep(api: Kubernetes, revision: Json, *, kept: bool) -> None:
    """Pin a revision against Knative's garbage collection, or give it free; nothing is written when it is so already.

    Somebody who changes it at the same time is no reason to wait: the next look does it.
    """
    annotations = revision["metadata"].get("annotations") or {}
    if (annotations.get(_NO_GC) == "true") is kept:
        return
    others = {name: text for name, text in annotations.items() if name != _NO_GC}
    changed = copy.deepcopy(revision) | {"apiVersion": "serving.knative.dev/v1"}
    changed["metadata"]["annotations"] = {**others, _NO_GC: "true"} if kept else others
    name, namespace = revision["metadata"]["name"], revision["metadata"]["namespace"]
    try:
        await api.replace(f"{served('Revision', namespace)}/{name}", changed)
    except KubeError as error:
        if error.status not in {_CONFLICT, _NOT_FOUND}:
            raise


def merge(existing: Json, desired: Json) -> Json:
    """`existing` with what is desired of it. Equal to `existing` when it says all of that already.

    The API server's defaults inside what we wrote are no difference, and neither is another trace: a rewrite would make a
    new revision for nothing.
    """
    known, merged = traces.like(desired, existing), copy.deepcopy(existing)
    for kind in ("labels", "annotations"):
        wanted = known["metadata"].get(kind, {})
        if wanted:
            merged["metadata"][kind] = {**merged["metadata"].get(kind, {}), **wanted}
    for part, value in known["spec"].items():
        if not _covers(existing["spec"].get(part), value):
            merged["spec"][part] = desired["spec"][part]
    if merged != existing and (traceparent := traces.of_object(desired)):
        merged["metadata"].setdefault("annotations", {})[traces.ANNOTATION] = traceparent
    return merged


def _covers(existing: object, desired: object) -> bool:
    """Whether `existing` says what `desired` says, and at most more in its objects."""
    if isinstance(desired, Mapping):
        return isinstance(existing, Mapping) and all(_covers(existing.get(name), desired[name]) for name in desired)
    if isinstance(desired, list) and isinstance(existing, list):
        return len(existing) == len(desired) and all(map(_covers, existing, desired))
    return existing == desired


def _owner(manifest: Mapping[str, Any]) -> str:
    return str(manifest["metadata"].get("labels", {}).get(SERVER_LABEL, ""))


def _require_ours(existing: Json, desired: Json) -> None:
    what = f"{existing['kind']} {existing['metadata']['name']}"
    if existing["metadata"].get("deletionTimestamp"):
        raise Retry(1, f"{what} is still being deleted; try again")
    if not _owner(existing):
        raise Foreign(f"{what} exists and was not made by Torpor; choose another name or delete it")
    if _owner(existing) != _owner(desired):
        raise Retry(1, f"{what} of an earlier server is not deleted yet; try again")
