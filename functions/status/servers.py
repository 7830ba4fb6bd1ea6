"""Servers as people see them: what is asked for, what the cluster last said, where it answers. Called by the routes."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from functions.kit.db import queries
from functions.kit.problem import NotFound
from functions.status import paging
from functions.status.deps import Rows
from functions.status.paging import Page

SQL = queries(str(Path(__file__)))
# Of those that change at one time; more are not read by anybody second by second.
MOST_CHANGING: Final = 200


class ServerNotFound(NotFound):
    """Server not found"""


class ServerView(msgspec.Struct, frozen=True):
    """One server. Memory in MB (2^20 bytes); `replicas` is null until the cluster has reported some number."""

    uuid: str
    name: str
    model_uuid: str
    model_name: str
    namespace: str
    status: str
    revision: str | None
    endpoint: str | None
    gateway_url: str | None
    error: str | None
    replicas: int | None
    memory_usage_mb: int
    memory_max_mb: int
    cpu_usage_percent: float
    pod_name: str | None
    params: Any
    contract: Any
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime


def server_view(row: Mapping[str, Any]) -> ServerView:
    """One row of server_records."""
    return ServerView(
        row["uuid"],
        row["service_name"] or "",
        row["model_uuid"],
        row["model_name"],
        row["namespace"] or "",
        row["status"] or "",
        row["revision"],
        row["endpoint"],
        row["gateway_url"],
        row["error"],
        (row["observed"] or {}).get("replicas"),
        row["memory_usage_mb"] or 0,
        row["memory_max_mb"] or 0,
        row["cpu_usage_percent"] or 0.0,
        row["pod_name"],
        row["runtime_params"],
        row["contract"],
        row["created_at"],
        row["started_at"],
        row["updated_at"],
    )


async def list_servers(db: Rows, query: Mapping[str, str]) -> Page[ServerView]:
    """A page of the servers that are not deleted, newest first."""
    size = paging.limit(query)
    created, uuid = paging.decode(query, tuple[datetime, str]) or (None, None)
    rows = await db.fetch(SQL.list_servers, created, uuid, size + 1)
    page = paging.cut(rows, size, lambda row: (row["created_at"], row["uuid"]))
    return Page([server_view(row) for row in page.items], page.next_cursor)


async def changing_servers(db: Rows, within_s: float) -> list[ServerView]:
    """Servers whose record changed within so many seconds."""
    return [server_view(row) for row in await db.fetch(SQL.changing_servers, within_s, MOST_CHANGING)]


async def find_server(db: Rows, name: str) -> ServerView:
    """One server by uuid or name. Raises ServerNotFound."""
    row = await db.fetchrow(SQL.find_server, name)
    if row is None:
        raise ServerNotFound(f"no server is named {name!r}; GET /status lists those that are here")
    return server_view(row)
