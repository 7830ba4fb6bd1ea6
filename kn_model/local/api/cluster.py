"""Writes to the store as an API server makes them: field validation, admission, then the store.

Called by the API for every create, update, patch and delete. `admit` and `check` are arguments, since what a cluster refuses
is other modules' knowledge (`admit.py`, `supported.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from kn_model.local.admission import definitions, supported
from kn_model.local.api.errors import AlreadyExists, BadRequest, Conflict, Invalid, NotFound, not_found
from kn_model.local.objects import meta as object_meta
from kn_model.local.objects.kinds import NAMESPACE, Kind, Object
from kn_model.local.objects.store import ObjectStore

FieldValidation = Literal["Strict", "Warn", "Ignore"]
_PATCH_TRIES: Final = 5
"""A patch without a resourceVersion is tried again when somebody else was faster; an API server tries 5 times too."""
_SYSTEM_NAMESPACES: Final = ("default", "knative-serving", "knative-eventing")


class Admits(Protocol):
    """Defaults and rules of the admission webhooks: the object to store, or an ApiError."""

    def __call__(self, obj: Mapping[str, Any], old: Mapping[str, Any] | None = None, *, user: str) -> Object:
        """See `admission.admit`."""
        ...


Check = Callable[[Mapping[str, Any]], Sequence[str]]
"""Names what of an object is not honoured here: `supported.check`."""


@dataclass
class Write:
    """How one write is asked for, and what its caller has to be warned of afterwards."""

    user: str
    validation: FieldValidation = "Warn"
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)
    duplicates: Sequence[str] = ()
    """What the body's decoder found: `duplicate field "spec.x"`."""


class Cluster:
    """The store behind validation and admission."""

    def __init__(self, store: ObjectStore, admit: Admits, check: Check) -> None:
        self.store = store
        self._admit = admit
        self._check = check

    async def prepare(self) -> None:
        """Make the namespaces that every cluster with Knative has."""
        for name in _SYSTEM_NAMESPACES:
            if self.store.find(NAMESPACE, "", name) is None:
                await self.store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    async def create(self, kind: Kind, namespace: str, obj: Object, write: Write) -> Object:
        """Store a new object in `namespace`."""
        _settle_identity(kind, obj, namespace, name="")
        if kind.namespaced and self.store.find(NAMESPACE, "", namespace) is None:
            raise not_found(NAMESPACE, namespace)
        obj.pop("status", None)
        admitted = self._admitted(kind, obj, None, write)
        if not write.dry_run:
            return await self.store.create(admitted)
        if self.store.find(kind, namespace, admitted["metadata"].get("name", "")):
            raise AlreadyExists(f'{kind.key} "{admitted["metadata"]["name"]}" already exists', kind)
        return object_meta.created(kind, admitted, "00000000-0000-0000-0000-000000000000", "1970-01-01T00:00:00Z")

    async def replace(self, kind: Kind, namespace: str, name: str, obj: Object, write: Write) -> Object:
        """Replace an object; a resourceVersion in it is a precondition, which objects of Knative and of CRDs must have."""
        _settle_identity(kind, obj, namespace, name)
        if "." in kind.group and not kind.group.endswith(".k8s.io") and not obj["metadata"].get("resourceVersion"):
            where = "metadata.resourceVersion"
            message = f"{where}: Invalid value: 0: must be specified for an update"
            raise Invalid(f'{kind.key} "{name}" is invalid: {message}', kind, name)
        old = self.store.get(kind, namespace, name)
        return await self._store(kind, old, self._admitted(kind, obj, old, write), write)

    async def patch(
        self, kind: Kind, namespace: str, name: str, change: Callable[[Object], Object], write: Write
    ) -> Object:
        """Replace an object by what `change` makes of it, again when somebody else was faster meanwhile."""
        for _ in range(_PATCH_TRIES):
            old = self.store.get(kind, namespace, name)
            new = change(old)
            _settle_identity(kind, new, namespace, name)
            admitted = self._admitted(kind, new, old, write)
            asked_for = new["metadata"].get("resourceVersion") != old["metadata"]["resourceVersion"]
            try:
                return await self._store(kind, old, admitted, write)
            except Conflict:
                if asked_for:
                    raise
        raise Conflict(f'{kind.key} "{name}" changes too fast', kind, name)

    async def set_status(self, kind: Kind, namespace: str, name: str, obj: Object) -> Object:
        """Replace the status alone."""
        _settle_identity(kind, obj, namespace, name)
        if not kind.has_status:
            raise NotFound("the server could not find the requested resource", kind, name)
        return await self.store.update_status(definitions.told(kind, obj))

    async def patch_status(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        """Change the status alone by a merge patch."""
        if not kind.has_status:
            raise NotFound("the server could not find the requested resource", kind, name)
        definitions.told(kind, object_meta.merge_patch(self.store.get(kind, namespace, name), patch))
        return await self.store.merge_patch(
            kind, namespace, name, definitions.without_unknown(kind, patch), status=True
        )

    async def _store(self, kind: Kind, old: Object, admitted: Object, write: Write) -> Object:
        if write.dry_run:
            return object_meta.updated(kind, old, admitted)
        return await self.store.update(admitted)

    def _admitted(self, kind: Kind, obj: Object, old: Object | None, write: Write) -> Object:
        """What is stored of an object that a client sent. A defined kind has its schema, the others have webhooks."""
        if kind.schema is None:
            self._judge(self._check(obj), write)
            return self._admit(supported.pruned(obj), old, user=write.user)
        kept, unknown = definitions.decoded(kind, obj)
        self._judge([f'unknown field "{path}"' for path in unknown], write)
        definitions.require_valid(kind, kept)
        return kept

    def _judge(self, found: Sequence[str], write: Write) -> None:
        """Fields that mean nothing here, or are there twice: refused, warned of or ignored, as the client asked."""
        found = [*write.duplicates, *found]
        if write.validation == "Ignore":
            return
        if found and write.validation == "Strict":
            raise BadRequest(f"strict decoding error: {'; '.join(found)}")
        write.warnings += found


def _settle_identity(kind: Kind, obj: Object, namespace: str, name: str) -> None:
    """The address says what an object is; its body may leave that out, not contradict it."""
    metadata = obj.setdefault("metadata", {})
    expected = {"apiVersion": kind.api_version, "kind": kind.kind}
    for key, value in expected.items():
        if obj.setdefault(key, value) != value:
            raise BadRequest(f"the object's {key} is {obj[key]}, the address says {value}")
    places = {"namespace": namespace if kind.namespaced else "", "name": name}
    for key, value in places.items():
        if value and metadata.setdefault(key, value) != value:
            raise BadRequest(f"the {key} of the provided object does not match the {key} sent on the request")
