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
# Of those that change at one time; more are not read by anybody second by second.
MOST_CHANGING: Final = 200


class ModelNotFound(NotFound):
    """Model not found"""


class FileView(msgspec.Struct, frozen=True):
    """One file of a model: bytes, bytes per second, seconds left (null when nothing says), the last error.

    phase: queued, transferring, waiting (after an error), verifying, verified or failed.
    """

    path: str
    size: int | None
    sha256: str | None
    status: str
    phase: str
    bytes_done: int
    rate_bps: float
    eta_s: float | None
    error: str | None


class StorageView(msgspec.Struct, frozen=True):
    """Bytes of a model's verified content: what other models have too, and what is its own. Each content once."""

    shared_bytes: int
    unique_bytes: int


class SignatureView(msgspec.Struct, frozen=True):
    """What was found about a model's signature: verified (by which key), absent, or invalid (and why)."""

    outcome: str
    key: str | None
    detail: str | None


class ModelView(msgspec.Struct, frozen=True):
    """One model. `files` is null in lists. Sums count what is stored and verified or under way.

    phase: planning, queued, transferring, waiting (after an error), verifying or publishing while it is downloading, else
    its status. error: why it failed, or what its download waits for. storage and signature: of one model alone; null where
    the installation does not ask for signatures.
    """

    uuid: str
    name: str
    source: str
    revision: str | None
    status: str
    phase: str
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
    storage: StorageView | None = None
    signature: SignatureView | None = None


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
        progress.file_phase(transfer, row["error"], now),
        transfer.bytes_done,
        round(rate, 1),
        progress.eta(transfer.bytes_done, transfer.size, rate),
        row["error"],
    )


def model_view(
    row: Mapping[str, Any], moving: Iterable[progress.Transfer], server: ServerView | None, now: datetime
) -> ModelView:
    """One row of model_records with its sums; `moving` are its files under transfer."""
    transfers = [transfer for transfer in moving if transfer.status == progress.TRANSFERRING]
    rate = progress.total_rate(transfers, now)
    total = _bytes_total(row)
    error = row["error"] or (row["waiting"] if row["status"] == "downloading" else None)
    sums = progress.Sums(row["files"], row["verified"], len(transfers), row["bytes_done"], total)
    return ModelView(
        row["uuid"],
        row["model_name"],
        row["source"],
        row["revision"],
        row["status"],
        progress.model_phase(row["status"], sums, error, rate),
        error,
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
    moving = await _moving(db, page.items)
    servers = await _servers(db, [row["uuid"] for row in page.items])
    views = [
        model_view(row, map(transfer_of, moving[row["uuid"]]), servers.get(row["uuid"]), now) for row in page.items
    ]
    return Page(views, page.next_cursor)


async def changing_models(db: Rows, within_s: float, now: datetime) -> Sequence[ModelView]:
    """Models under way, or changed within so many seconds, each with those of its files that are moving."""
    rows = await db.fetch(SQL.changing_models, within_s, MOST_CHANGING)
    moving = await _moving(db, rows)
    servers = await _servers(db, [row["uuid"] for row in rows])
    views = []
    for row in rows:
        files = moving[row["uuid"]]
        view = model_view(row, map(transfer_of, files), servers.get(row["uuid"]), now)
        views.append(msgspec.structs.replace(view, files=[file_view(file, now) for file in files]))
    return views


async def find_model(db: Rows, name: str, now: datetime) -> ModelView:
    """One model by uuid or name, with its files. Raises ModelNotFound."""
    row = await _row(db, name)
    files = await db.fetch(SQL.list_files, row["uuid"])
    servers = await _servers(db, [row["uuid"]])
    view = model_view(row, map(transfer_of, files), servers.get(row["uuid"]), now)
    stored = await db.fetchrow(SQL.storage_of_model, row["uuid"])
    return msgspec.structs.replace(
        view,
        files=[file_view(file, now) for file in files],
        storage=StorageView(stored["shared_bytes"], stored["unique_bytes"]),
        signature=msgspec.convert(stored["signature"], SignatureView | None),
    )


async def find_uuid(db: Rows, name: str) -> str:
    """The uuid of a model by uuid or name. Raises ModelNotFound."""
    return str((await _row(db, name))["uuid"])


async def _row(db: Rows, name: str) -> Any:
    row = await db.fetchrow(SQL.find_model, name)
    if row is None:
        raise ModelNotFound(f"no model is named {name!r}; GET /models lists those that are here")
    return row


async def _moving(db: Rows, models: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
    """Rows of the files under way, by model."""
    moving: defaultdict[str, list[Any]] = defaultdict(list)
    uuids = [row["uuid"] for row in models if row["status"] == "downloading"]
    if uuids:
        for row in await db.fetch(SQL.list_moving_files, uuids):
            moving[row["model_uuid"]].append(row)
    return moving


async def _servers(db: Rows, uuids: Sequence[str]) -> dict[str, ServerView]:
    if not uuids:
        return {}
    rows = await db.fetch(SQL.servers_of_models, list(uuids))
    return {row["model_uuid"]: server_view(row) for row in rows}
