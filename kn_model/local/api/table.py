"""Objects as the rows that `kubectl get` prints: `meta.k8s.io/v1` Table. Pure; called by `api/app.py` and `watch.py`.

Columns are those of the CRDs of Knative Serving and Eventing 1.23 and of the Gateway API (additionalPrinterColumns), those
of built-in kinds are kubectl's, those of a defined kind its definition's.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from kn_model.local.api import jsonpath
from kn_model.local.objects import conditions, kinds
from kn_model.local.objects.kinds import Kind

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, how to read its cell from an object, and whether only `-o wide` shows it."""

    name: str
    cell: Callable[[Json], Any]
    wide: bool = False

    def definition(self) -> dict[str, Any]:
        """As the Table describes it."""
        return {
            "name": self.name,
            "type": "string",
            "format": "name" if self.name == "Name" else "",
            "description": "",
            "priority": int(self.wide),
        }


def table(
    kind: Kind, objects: Iterable[Json], metadata: Json, *, now: datetime | None = None, headed: bool = True
) -> dict[str, Any]:
    """A Table with one row per object; a watch's later tables leave out the headings."""
    columns = _columns(kind, now or datetime.now(UTC))
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": dict(metadata),
        **({"columnDefinitions": [column.definition() for column in columns]} if headed else {}),
        "rows": [_row(columns, obj) for obj in objects],
    }


def _columns(kind: Kind, now: datetime) -> Sequence[Column]:
    """A defined kind prints what its definition says and no more; the others what kubectl prints of them."""
    if kind.schema is not None:
        return [_NAME, *(_printed(each, now) for each in kind.columns)]
    return [_NAME, *_COLUMNS.get(kind, _READY if kind.has_status else ()), _age(now)]


def _printed(column: kinds.Printed, now: datetime) -> Column:
    def cell(obj: Json) -> Any:
        found = jsonpath.first(column.json_path, obj)
        if column.type == "date":
            return _since(found, now) if found else "<unknown>"
        return "" if found is None else found

    return Column(column.name, cell, wide=column.priority > 0)


def _row(columns: Sequence[Column], obj: Json) -> dict[str, Any]:
    partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
    return {"cells": [column.cell(obj) for column in columns], "object": partial}


def _at(path: str, default: Any = "") -> Callable[[Json], Any]:
    """Reads a dotted path."""
    parts = path.split(".")

    def cell(obj: Json) -> Any:
        value: Any = obj
        for part in parts:
            value = value.get(part) if isinstance(value, Mapping) else None
        return default if value is None else value

    return cell


def _label(name: str) -> Callable[[Json], Any]:
    return lambda obj: (obj["metadata"].get("labels") or {}).get(name, "")


def _count(field: str) -> Callable[[Json], Any]:
    return lambda obj: len(obj.get(field) or {})


def _condition(type_: str, part: str) -> Callable[[Json], Any]:
    def cell(obj: Json) -> Any:
        found = conditions.read(obj, type_)
        if part == "reason":
            return found.reason
        return {True: "True", False: "False", None: "Unknown" if obj.get("status") else ""}[found.status]

    return cell


def _age(now: datetime) -> Column:
    return Column("Age", lambda obj: _since(obj["metadata"]["creationTimestamp"], now))


def _since(moment: str, now: datetime) -> str:
    return age(max(0, int((now - datetime.fromisoformat(moment)).total_seconds())))


def age(seconds: int) -> str:
    """A span of time as kubectl writes it: `45s`, `3m12s`, `5h10m`, `2d3h` (apimachinery `pkg/util/duration`)."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:  # noqa: PLR2004  # kubectl's own borders
        return f"{seconds}s"
    if minutes < 10:  # noqa: PLR2004
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:  # noqa: PLR2004
        return f"{minutes}m"
    if hours < 48:  # noqa: PLR2004
        return f"{hours}h"
    return f"{days}d"


def _completions(job: Json) -> str:
    return f"{(job.get('status') or {}).get('succeeded', 0)}/{job['spec'].get('completions', 1)}"


def _first(path: str) -> Callable[[Json], Any]:
    read = _at(path, [])
    return lambda obj: ",".join(map(str, read(obj)))


_NAME: Final = Column("Name", _at("metadata.name"))
_READY: Final = (Column("Ready", _condition("Ready", "status")), Column("Reason", _condition("Ready", "reason")))
_URL: Final = Column("URL", _at("status.url"))
_ADDRESS: Final = Column("URL", _at("status.address.url"))
_SINK: Final = Column("Sink", _at("status.sinkUri"))

_COLUMNS: Final[Mapping[Kind, Sequence[Column]]] = {
    kinds.SERVICE: (
        _URL,
        Column("LatestCreated", _at("status.latestCreatedRevisionName")),
        Column("LatestReady", _at("status.latestReadyRevisionName")),
        *_READY,
    ),
    kinds.CONFIGURATION: (
        Column("LatestCreated", _at("status.latestCreatedRevisionName")),
        Column("LatestReady", _at("status.latestReadyRevisionName")),
        *_READY,
    ),
    kinds.REVISION: (
        Column("Config Name", _label("serving.knative.dev/configuration")),
        Column("Generation", _label("serving.knative.dev/configurationGeneration")),
        *_READY,
        Column("Actual Replicas", _at("status.actualReplicas")),
        Column("Desired Replicas", _at("status.desiredReplicas")),
    ),
    kinds.ROUTE: (_URL, *_READY),
    kinds.BROKER: (_ADDRESS, *_READY),
    kinds.TRIGGER: (
        Column("Broker", _at("spec.broker")),
        Column("Subscriber_URI", _at("status.subscriberUri")),
        *_READY,
    ),
    kinds.PING_SOURCE: (Column("Schedule", _at("spec.schedule")), _SINK, *_READY),
    kinds.API_SERVER_SOURCE: (_SINK, *_READY),
    kinds.HTTP_ROUTE: (Column("Hostnames", _first("spec.hostnames")),),
    kinds.CONFIG_MAP: (Column("Data", _count("data")),),
    kinds.SECRET: (Column("Type", _at("type", "Opaque")), Column("Data", _count("data"))),
    kinds.NAMESPACE: (Column("Status", lambda _: "Active"),),
    kinds.SERVICE_ACCOUNT: (),
    kinds.JOB: (Column("Completions", _completions),),
}
