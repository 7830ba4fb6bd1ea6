"""The status that Brokers, Triggers and sources show: what kn and kubectl print as READY.

Called by the broker and the sources. Condition types are those of Knative Eventing 1.23 (`*_lifecycle.go`).
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from kn_model.local.api.errors import NotFound
from kn_model.local.objects.kinds import Kind, Object
from kn_model.local.objects.store import ObjectStore


async def show(
    store: ObjectStore, kind: Kind, obj: Object, problems: Mapping[str, str], fields: Mapping[str, Any]
) -> None:
    """Set an object's status. problems: what is wrong, by condition type; "" is nothing. Ready when nothing is."""
    metadata = obj["metadata"]
    status = {
        "observedGeneration": metadata["generation"],
        "conditions": _conditions((obj.get("status") or {}).get("conditions") or [], problems),
        **fields,
    }
    with suppress(NotFound):  # deleted meanwhile
        await store.set_status(kind, metadata["namespace"], metadata["name"], status)


def _conditions(before: Sequence[Mapping[str, Any]], problems: Mapping[str, str]) -> list[dict[str, Any]]:
    """One condition for each type, and Ready over all. A condition that did not change keeps its time."""
    worst = next((text for text in problems.values() if text), "")
    old = {each["type"]: each for each in before}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return [_condition(old.get(type_, {}), type_, text, now) for type_, text in {**problems, "Ready": worst}.items()]


def _condition(old: Mapping[str, Any], type_: str, problem: str, now: str) -> dict[str, Any]:
    status = "False" if problem else "True"
    since = old.get("lastTransitionTime", now) if old.get("status") == status else now
    told = {"reason": "NotReady", "message": problem} if problem else {}
    return {"type": type_, "status": status, "lastTransitionTime": since, **told}
