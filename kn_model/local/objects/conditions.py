"""Conditions of a status, as Knative writes them (knative.dev/pkg `apis/condition_set.go`). Pure.

Used by every reconciler that writes a status.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: `status` is True, False or Unknown (None)."""

    type: str
    status: bool | None
    reason: str = ""
    message: str = ""
    severity: str = ""
    """`Info` for a condition that does not count for Ready."""

    def written(self, before: Sequence[Mapping[str, Any]], now: str) -> dict[str, str]:
        """As JSON; the transition time moves only when the status does."""
        text = "Unknown" if self.status is None else str(self.status)
        same = [old for old in before if old["type"] == self.type and old["status"] == text]
        written = {
            "type": self.type,
            "status": text,
            "severity": self.severity,
            "lastTransitionTime": same[0].get("lastTransitionTime", now) if same else now,
            "reason": self.reason,
            "message": self.message,
        }
        return {key: value for key, value in written.items() if value}


def summary(conditions: Sequence[Condition]) -> Condition:
    """The Ready condition over others: the first that is False, else the first that is Unknown, else True."""
    counted = [condition for condition in conditions if not condition.severity]
    worst = next((one for one in counted if one.status is False), None)
    worst = worst or next((one for one in counted if one.status is None), None)
    return Condition("Ready", worst.status, worst.reason, worst.message) if worst else Condition("Ready", status=True)


def written(conditions: Sequence[Condition], before: Mapping[str, Any], now: str) -> list[dict[str, str]]:
    """All of them as JSON by type, which is how Knative orders them; `before` is the status until now."""
    old = before.get("conditions") or []
    return [condition.written(old, now) for condition in sorted(conditions, key=lambda one: one.type)]


def read(obj: Mapping[str, Any] | None, type_: str = "Ready") -> Condition:
    """A condition of an object; Unknown when it has none."""
    found = ((obj or {}).get("status") or {}).get("conditions") or []
    one = next((condition for condition in found if condition["type"] == type_), None)
    if one is None:
        return Condition(type_, status=None)
    status = {"True": True, "False": False}.get(one["status"])
    return Condition(type_, status, one.get("reason", ""), one.get("message", ""))


def timestamp() -> str:
    """Now, as Kubernetes writes times."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
