"""The events that PingSource and ApiServerSource send, and when. Pure; called by `sources.py`.

Source: Knative Eventing 1.23, `pkg/adapter/mtping`, `pkg/adapter/apiserver/events` and `pkg/apis/sources/v1`.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from kn_model.local.eventing.cloudevent import CloudEvent
from kn_model.local.objects.kinds import Kind, Object

PING: Final = "dev.knative.sources.ping"
# What an event of an ApiServerSource is called and what it carries, by the source's mode.
RESOURCE: Final = "dev.knative.apiserver.resource"
REFERENCE: Final = "dev.knative.apiserver.ref"
# How the store's watch names a change, and how the source does.
CHANGES: Final[Mapping[str, str]] = {"ADDED": "add", "MODIFIED": "update", "DELETED": "delete"}


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to an object: `how` is ADDED, MODIFIED or DELETED."""

    kind: Kind
    how: str
    obj: Object


def ping(source: Object) -> CloudEvent:
    """One tick of a PingSource, to be stamped."""
    metadata, spec = source["metadata"], source["spec"]
    attributes = {
        "specversion": "1.0",
        "source": f"/apis/v1/namespaces/{metadata['namespace']}/pingsources/{metadata['name']}",
        "type": PING,
    }
    if content_type := spec.get("contentType"):
        attributes["datacontenttype"] = content_type
    encoded = spec.get("dataBase64")
    data = base64.b64decode(encoded) if encoded else str(spec.get("data", "")).encode()
    return CloudEvent({**attributes, **overrides(spec)}, data or None)


def next_tick(spec: Mapping[str, Any], now: datetime) -> datetime:
    """When a PingSource's schedule fires next after `now`, in UTC; five fields, or six with seconds first."""
    from croniter import croniter

    zone = ZoneInfo(spec.get("timezone") or "UTC")
    schedule = spec["schedule"]
    ticks = croniter(schedule, now.astimezone(zone), second_at_beginning=True)
    found: datetime = ticks.get_next(datetime)
    return found.astimezone(UTC)


def change(source: Object, seen: Change, host: str) -> CloudEvent:
    """A change of an object as an ApiServerSource sends it, to be stamped: the object, or in mode Reference its name alone.

    host: the API's address.
    """
    kind, metadata = seen.kind, seen.obj["metadata"]
    whole = source["spec"].get("mode") == "Resource"
    root = "api" if not kind.group else "apis"
    inside = f"/namespaces/{metadata['namespace']}" if kind.namespaced else ""
    reference = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": metadata["name"],
        "namespace": metadata.get("namespace", ""),
    }
    attributes = {
        "specversion": "1.0",
        "source": host,
        "type": f"{RESOURCE if whole else REFERENCE}.{CHANGES[seen.how]}",
        "subject": f"/{root}/{kind.api_version}{inside}/{kind.plural}/{metadata['name']}",
        "datacontenttype": "application/json",
        **{name.lower(): value for name, value in reference.items()},
    }
    named = {name: value for name, value in {**attributes, **overrides(source["spec"])}.items() if value}
    carried = seen.obj if whole else {name: value for name, value in reference.items() if value}
    return CloudEvent(named, json.dumps(carried).encode())


def stamped(event: CloudEvent, id_: str, now: datetime) -> CloudEvent:
    """The event with what makes it one of its own."""
    return event.having(id=id_, time=now.astimezone(UTC).isoformat().replace("+00:00", "Z"))


def selector(labels: Mapping[str, Any] | None) -> str:
    """A LabelSelector in the one-line form that watches take."""
    wanted = labels or {}
    equal = [f"{name}={value}" for name, value in (wanted.get("matchLabels") or {}).items()]
    return ",".join([*equal, *map(_expression, wanted.get("matchExpressions") or [])])


def overrides(spec: Mapping[str, Any]) -> Mapping[str, str]:
    """The extension attributes that a source adds to each of its events."""
    return (spec.get("ceOverrides") or {}).get("extensions") or {}


def _expression(each: Mapping[str, Any]) -> str:
    key, values = each["key"], each.get("values") or []
    listed = ",".join(values)
    forms = {"In": f"{key} in ({listed})", "NotIn": f"{key} notin ({listed})", "Exists": key, "DoesNotExist": f"!{key}"}
    return str(forms[each["operator"]])
