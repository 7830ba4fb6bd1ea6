"""What the cluster said too late: it changes nothing, and the history tells what it would have meant. Called by `handlers`.

Only events can be late: a tick compares what the API lists, and that is never old.
"""

from msgspec.structs import replace

from functions.kit import history
from functions.kit.bus import Unit
from functions.kit.history import Attempt
from functions.kit.kube import Json
from functions.serve import observe
from functions.serve.observe import Seen
from functions.serve.records import Record
from functions.serve.states import SERVER, Cause, State

# The history's word for a model that is gone before it could be served: models have their table in `download`.
_MODEL, _DELETED, _SERVED = "model", "deleted", "served"


async def note(unit: Unit, record: Record, obj: Json) -> None:
    """An object of a deleted server, or an older version than the one that is known. The same version is no news at all."""
    seen, is_service = observe.read(obj), obj["kind"] == "Service"
    known = record.observed.service if is_service else record.observed.revision
    if unit.cause is None or not (record.state is State.DELETED or _is_older(known, seen, is_service)):
        return
    meant = replace(record.observed, service=seen) if is_service else replace(record.observed, revision=seen)
    detail = f"{obj['kind']} {seen.name} in version {seen.resource_version}"
    await _late(unit, record, observe.find(meant).cause, f"{detail}; {_known(known)}")


async def note_gone(unit: Unit, record: Record, uid: str) -> None:
    """A Service is gone that another one has replaced already."""
    await _late(unit, record, Cause.REQUESTED, f"the Service {uid} is gone; {_known(record.observed.service)}")


async def note_no_model(unit: Unit, model_uuid: str) -> None:
    """`model.available` of a model that was deleted meanwhile."""
    await history.late(unit, _MODEL, Attempt(model_uuid, _DELETED, _SERVED, "no server is made for it"))


async def _late(unit: Unit, record: Record, cause: Cause, detail: str) -> None:
    await history.late(unit, SERVER.kind, Attempt(record.uuid, record.state, cause, detail))


def _is_older(known: Seen | None, seen: Seen, is_service: bool) -> bool:  # noqa: FBT001  # the kind of both objects
    """News of an older revision is no late news: it is of another object, and decides nothing."""
    if known is None or not (is_service or known.generation == seen.generation):
        return False
    return seen.resource_version < known.resource_version


def _known(known: Seen | None) -> str:
    return f"{known.resource_version} of {known.uid} is known" if known else "nothing of it is known"
