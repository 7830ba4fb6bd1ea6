"""When a revision was woken: what a cold start's wait is counted from. Called when the ApiServerSource tells of a Revision.

While a revision is brought up its condition Active is Unknown (knative/serving, pkg/reconciler/autoscaling/kpa), since the
call or the decision that woke it. What the event says is taken, for by the time that it is handled a quick engine is ready.
It is nobody's word, but it decides nothing: it is a figure for people, and has to lie in the revision's life.
"""

from datetime import UTC, datetime
from typing import Any

from functions.kit.kube import Json
from functions.serve.records import SQL


async def note(connection: Any, obj: Json | None, told: Json) -> None:
    """Keep the moment, if this tells of one. obj: the object as the API has it; told: as the event says."""
    if obj is None or obj["metadata"]["uid"] != told["metadata"]["uid"]:
        return
    woken_at = moment(told)
    made_at = _time(obj["metadata"].get("creationTimestamp"))
    if woken_at is not None and made_at is not None and made_at <= woken_at <= datetime.now(UTC):
        await connection.execute(SQL.note_wake, obj["metadata"]["name"], woken_at)


def moment(revision: Json) -> datetime | None:
    """Since when this Revision is being brought up; None for one that is not, and for other objects. Pure."""
    conditions = revision.get("status", {}).get("conditions", []) if revision["kind"] == "Revision" else []
    active = next((entry for entry in conditions if entry["type"] == "Active"), None)
    if active is None or active.get("status") != "Unknown":
        return None
    return _time(active.get("lastTransitionTime"))


def _time(text: object) -> datetime | None:
    """A time of Kubernetes' API, which is RFC 3339 with whole seconds."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo else None
