"""Models as people see them: records with progress, files and the server that serves them. Called by the routes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from functions.kit.db import queries
from functions.kit.problem import NotFound
from functions.status import paging, progress
from functions.status.deps import Rows
from functions.status.paging import Page
from functions.status.servers import ServerView, server_view

SQL = queries(str(Path(__file__)))

# What a list shows: everything that somebody can still use, retry or watch.
LISTED: Final = ("downloading", "available", "failed")
AVAILABLE: Final = ("available",)


class ModelNotFound(NotFound):
    """Model not found"""


class FileView(msgspec.Struct, frozen=True):
    """One file of a model: bytes, bytes per second, seconds left (null when nothing says)."""

    path: str
    size: int | None
    sha256: str | None
    status: str
    bytes_done: int
    rate_bps: float
    eta_s: float | None
    error: str | None


class ModelView(msgspec.Struct, frozen=True):
    """One model. `files` is null in lists. Sums count what is stored and verified or under way."""

    uuid: str
    name: str
    source: str
    revision: str | None
    status: str
    error: str | None
    error_code: str | None
    bytes_done: int
    bytes_total: int | None
    rate_bps: float
    eta_s: float | None
    created_at: datetime
    downloaded_at: datetime | None
    updated_at: datetime
    server: ServerView | None
    files: Sequence[FileView] | None = None


def transfer_of(row: Mapping[str, Any]) -> progress.Transfer:
    """The stored progress in a row of model_files."""
    return progress.Transfer(row["status"], row["size_bytes"], row["bytes_done"], row["rate_bps"], row["updated_at"])


def file_view(row: Mapping[str, Any], now: datetime) -> FileView:
    """One row of model_files at `now`."""
    transfer = transfer_of(row)
    rate = progress.current_rate(transfer, now)
    return FileView(
        row["path"],
        transfer.size,
        row["sha256"],
        transfer.status,
        transfer.bytes_done,
        round(rate, 1),
        progress.eta(transfer.bytes_done, transfer.size, rate),
        row["error"],
    )


def model_view(
    row: Mapping[str, Any], moving: Iterable[progress.Transfer], server: ServerView | None, now: datetime
) -> ModelView:
    """One row of model_records with its sums; `moving` are its files under transfer."""
    rate = progress.total_rate(moving, now)
    total = _bytes_total(row)
    return ModelView(
        row["uuid"],
        row["model_name"],
        row["source"],
        row["revision"],
        row["status"],
        row["error"],
        row["error_code"],
        row["bytes_done"],
        total,
        round(rate, 1),
        progress.eta(row["bytes_done"], total, rate) if row["status"] == "downloading" else None,
        row["created_at"],
        row["downloaded_at"],
        row["updated_at"],
        server,
    )


def _bytes_total(row: Mapping[str, Any]) -> int | None:
    """The sum over files, unless a size is unknown or nothing is planned yet: then only what the record says."""
    known = row["files"] > 0 and row["files"] == row["sized"]
    total: int | None = row["bytes_total"] if known else row["file_size_bytes"]
    return total


async def list_models(db: Rows, query: Mapping[str, str], states: Sequence[str], now: datetime) -> Page[ModelView]:
    """A page of models in `states`, newest first."""
    size = paging.limit(query)
    created, uuid = paging.decode(query, tuple[datetime, str]) or (None, None)
    rows = await db.fetch(SQL.list_models, list(states), created, uuid, size + 1)
    page = paging.cut(rows, size, lambda row: (row["created_at"], row["uuid"]))
    uuids = [row["uuid"] for row in page.items]
    moving = await _moving(db, [row["uuid"] for row in page.items if row["status"] == "downloading"])
    servers = await _servers(db, uuids)
    views = [model_view(row, moving[row["uuid"]], servers.get(row["uuid"]), now) for row in page.items]
    return Page(views, page.next_cursor)


async def find_model(db: Rows, name: str, now: datetime) -> ModelView:
    """One model by uuid or name, with its files. Raises ModelNotFound."""
    row = await db.fetchrow(SQL.find_model, name)
    if row is None:
        raise ModelNotFound(f"no model is named {name!r}; GET /models lists those that are here")
    files = await db.fetch(SQL.list_files, row["uuid"])
    servers = await _servers(db, [row["uuid"]])
    view = model_view(row, map(transfer_of, files), servers.get(row["uuid"]), now)
    return msgspec.structs.replace(view, files=[file_view(file, now) for file in files])


async def _moving(db: Rows, uuids: Sequence[str]) -> Mapping[str, Sequence[progress.Transfer]]:
    moving: defaultdict[str, list[progress.Transfer]] = defaultdict(list)
    if uuids:
        for row in await db.fetch(SQL.list_moving_files, list(uuids)):
            moving[row["model_uuid"]].append(transfer_of(row))
    return moving


async def _servers(db: Rows, uuids: Sequence[str]) -> dict[str, ServerView]:
    if not uuids:
        return {}
    rows = await db.fetch(SQL.servers_of_models, list(uuids))
    return {row["model_uuid"]: server_view(row) for row in rows}
