"""Which Revisions are in use and which may go: Knative's labels for routing, and its garbage collection. Pure.

Called by `reconciler.py`. Rules, labels and defaults: knative/serving `pkg/reconciler/{labeler,gc}`, `pkg/gc/config.go`.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from kn_model.local.admission.formats import go_duration
from kn_model.local.objects.kinds import Object
from kn_model.local.serving.objects import LABEL

Json = Mapping[str, Any]

CONFIG: Final = ("knative-serving", "config-gc")
"""Namespace and name of the ConfigMap that an administrator changes."""
STATE: Final = LABEL + "routingState"
_SINCE: Final = LABEL + "routingStateModified"
_ROUTES: Final = LABEL + "routes"
_KEPT: Final = LABEL + "no-gc"
_RESERVE: Final = "reserve"
_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Retention:
    """The keys of `config-gc`; None is `disabled`. Defaults are those of a fresh installation."""

    since_create_s: float | None = 48 * _HOUR_S
    """`retain-since-create-time`."""
    since_active_s: float | None = 15 * _HOUR_S
    """`retain-since-last-active-time`."""
    min_idle: int = 20
    """`min-non-active-revisions`: so many stay, whatever their age."""
    max_idle: int | None = 1000
    """`max-non-active-revisions`: more go, whatever their age."""

    @classmethod
    def of(cls, config_map: Json | None) -> Self:
        """Read the ConfigMap; what it leaves out, or says in a way that nobody can read, keeps its default."""
        data, fresh = (config_map or {}).get("data") or {}, cls()
        return cls(
            _seconds(data.get("retain-since-create-time", ""), fresh.since_create_s),
            _seconds(data.get("retain-since-last-active-time", ""), fresh.since_active_s),
            _count(data.get("min-non-active-revisions", ""), fresh.min_idle) or 0,
            _count(data.get("max-non-active-revisions", ""), fresh.max_idle),
        )


def _seconds(text: str, default: float | None) -> float | None:
    if text == "disabled":
        return None
    read = go_duration(text)
    return default if read is None else read


def _count(text: str, default: int | None) -> int | None:
    if text == "disabled":
        return None
    return int(text) if text.isdecimal() else default


def labelled(revision: Json, route: str, now: str, *, routed: bool) -> Object:
    """The Revision as the labeler leaves it: `active` under the Route's name, or in `reserve` since `now`."""
    new = copy.deepcopy(dict(revision))
    labels = new["metadata"].setdefault("labels", {})
    annotations = new["metadata"].setdefault("annotations", {})
    state = "active" if routed else _RESERVE
    if labels.get(STATE) != state:
        labels[STATE] = state
        annotations[_SINCE] = now
    if routed:
        annotations[_ROUTES] = route
    else:
        annotations.pop(_ROUTES, None)
    return new


def forgettable(revisions: Sequence[Json], latest_ready: str, retention: Retention, now: str) -> Sequence[str]:
    """The names of the Revisions that go now: the stale ones beyond `min_idle`, then the oldest beyond `max_idle`."""
    idle = sorted((each for each in revisions if _idle(each, latest_ready)), key=_last_active)
    spare = max(0, len(idle) - retention.min_idle)
    stale = [each for each in idle if _stale(each, retention, now)][:spare]
    fresh = [each for each in idle if each not in stale]
    beyond = 0 if retention.max_idle is None else max(0, len(fresh) - retention.max_idle)
    return [str(each["metadata"]["name"]) for each in [*stale, *fresh[:beyond]]]


def _idle(revision: Json, latest_ready: str) -> bool:
    """No traffic or tag leads to it, it is not what the next `latestRevision` would mean, and nobody pinned it."""
    metadata = revision["metadata"]
    pinned = (metadata.get("annotations") or {}).get(_KEPT, "").lower() == "true"
    return not pinned and metadata["name"] != latest_ready and (metadata.get("labels") or {}).get(STATE) == _RESERVE


def _stale(revision: Json, retention: Retention, now: str) -> bool:
    ages = (
        (retention.since_create_s, revision["metadata"]["creationTimestamp"]),
        (retention.since_active_s, _last_active(revision)),
    )
    limits = [(limit, since) for limit, since in ages if limit is not None]
    return bool(limits) and all(_elapsed(since, now) >= limit for limit, since in limits)


def _last_active(revision: Json) -> str:
    metadata = revision["metadata"]
    return str((metadata.get("annotations") or {}).get(_SINCE) or metadata["creationTimestamp"])


def _elapsed(since: str, now: str) -> float:
    return (datetime.fromisoformat(now) - datetime.fromisoformat(since)).total_seconds()
