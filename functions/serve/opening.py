"""The way in to a server: its HTTPRoute `/m/<name>`, made when the cluster first routes to its Service and not before.

Until then an ingress would answer 404 for the Service's host; the gateway's own route for `/m` leads to status, which says
what the server is at. Called before a record says `ready`, so that a server which is ready can be reached.
"""

from typing import Any, Final

from functions.kit import trace
from functions.kit.db import Database
from functions.kit.kube import Json, KubeError
from functions.serve import cluster, observe, records, service, traces
from functions.serve.cluster import Foreign, Kubernetes
from functions.serve.records import SQL
from functions.serve.settings import Settings
from functions.serve.states import State

# Either says that the host of the Service leads somewhere; the first also stays while a later revision is not ready.
_ROUTED: Final = ("RoutesReady", "Ready")


def routed(obj: Json) -> bool:
    """Whether the cluster leads the host of this Knative Service to a revision."""
    conditions = obj.get("status", {}).get("conditions", [])
    return any(entry["type"] in _ROUTED and entry.get("status") == "True" for entry in conditions)


async def open_route(db: Database, api: Kubernetes, settings: Settings, obj: Json | None) -> bool:
    """Make the route of a server whose Service has just become reachable; answers whether the API took it.

    Nothing happens for other objects, and for Services that were reachable before.
    """
    if obj is None or obj["kind"] != "Service" or not routed(obj):
        return True
    row: Any = await db.fetchrow(SQL.read_server, observe.server_uuid(obj))
    if row is None or row["status"] == State.DELETED or _was_routed(row):
        return True
    record = records.record_of(row)
    try:
        await cluster.apply(api, traces.marked(service.http_route(record.server, settings), trace.current()))
    except (KubeError, Foreign):
        # The handler of server.requested meets it again and writes it into the record.
        return False
    return True


def _was_routed(row: Any) -> bool:
    seen = records.record_of(row).observed.service
    return seen is not None and any(seen.condition(kind).status == "True" for kind in _ROUTED)
