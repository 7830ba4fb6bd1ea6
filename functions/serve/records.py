"""Rows of `server_records` and `model_records` as values, and the statements that change them.

Called by the routes and the event handlers, inside their transactions.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from functions.kit.db import queries
from functions.serve import service
from functions.serve.observe import Finding, Observation
from functions.serve.planning import Model, Plan
from functions.serve.requests import ServeOptions
from functions.serve.service import Server
from functions.serve.settings import Settings
from functions.serve.states import SERVER, State

SQL: Final = queries(str(Path(__file__)))


@dataclass(frozen=True, slots=True)
class Record:
    """A server record as far as decisions need it."""

    uuid: str
    name: str
    model_uuid: str
    model_name: str
    state: State
    options: ServeOptions
    observed: Observation
    error: str
    # Keeps all traffic until what served is the latest revision again; empty when it is.
    pinned: str
    row: Mapping[str, Any]

    @property
    def server(self) -> Server:
        """What its objects are named and labelled by."""
        return Server(self.uuid, self.name, self.model_uuid, self.model_name)


def record_of(row: Mapping[str, Any]) -> Record:
    """Read a row."""
    return Record(
        uuid=row["uuid"],
        name=row["service_name"],
        model_uuid=row["model_uuid"],
        model_name=row["model_name"],
        state=State(row["status"]),
        options=msgspec.convert(row["request"], ServeOptions),
        observed=msgspec.convert(row["observed"], Observation),
        error=row["error"] or "",
        pinned=row["pinned_revision"] or "",
        row=row,
    )


def model_of(row: Mapping[str, Any]) -> Model:
    """Read a model's row."""
    return Model(row["uuid"], row["model_name"], row["status"], row["model_metadata"] or {})


async def add(connection: Any, draft: "Draft", settings: Settings) -> Record:
    """Write a new record."""
    row = await connection.fetchrow(
        SQL.add_server,
        str(uuid.uuid4()),
        draft.model.uuid,
        draft.model.name,
        draft.state,
        draft.runtime_params,
        draft.memory_max_mb,
        draft.name,
        settings.namespace,
        f"http://{service.host(draft.name, settings.namespace)}",
        service.gateway_url(draft.name, settings),
        draft.options.as_json(),
        draft.contract,
        draft.error or None,
        draft.actor,
    )
    return record_of(row)


async def change(connection: Any, record: Record, draft: "Draft") -> Record:
    """What is asked for has changed: same name, same uuid."""
    row = await connection.fetchrow(
        SQL.change_server,
        record.uuid,
        draft.model.uuid,
        draft.model.name,
        draft.state,
        draft.runtime_params,
        draft.memory_max_mb,
        draft.options.as_json(),
        draft.contract,
        draft.error or None,
    )
    return record_of(row)


async def move(connection: Any, record: Record, observed: Observation, finding: Finding, now: datetime) -> Record:
    """Keep what was observed and enter the state that it leads to; nothing happens to a deleted server."""
    state = SERVER.after(record.state, finding.cause)
    if state is None:
        return record
    if state is not record.state:
        observed = replace(observed, times={**observed.times, state: now.isoformat(timespec="milliseconds")})
    revision = observed.service.pinned or observed.service.latest if observed.service else ""
    row = await connection.fetchrow(
        SQL.move_server, record.uuid, state, finding.error, msgspec.to_builtins(observed), revision
    )
    return record_of(row)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a record is to say: made from a plan, or from the reason why there is none."""

    name: str
    model: Model
    options: ServeOptions
    actor: str
    state: State = State.PENDING
    error: str = ""
    plan: Plan | None = None

    @property
    def memory_max_mb(self) -> int:
        """What the contract says that it takes."""
        return self.plan.verdict.total_mb if self.plan else 0

    @property
    def contract(self) -> Any:
        """The verdict as JSON."""
        return msgspec.to_builtins(self.plan.verdict) if self.plan else None

    @property
    def runtime_params(self) -> dict[str, Any]:
        """Runtime, arguments and scale as JSON."""
        return self.plan.as_params(self.options.params) if self.plan else {}


def view(record: Record) -> dict[str, Any]:
    """The record as the API answers it: the names that `GET /status/{name}` uses."""
    row = record.row
    return {
        "uuid": record.uuid,
        "name": record.name,
        "model_uuid": record.model_uuid,
        "model_name": record.model_name,
        "namespace": row["namespace"],
        "status": record.state,
        "revision": row["revision"],
        "endpoint": row["endpoint"],
        "gateway_url": row["gateway_url"],
        "error": row["error"],
        "replicas": record.observed.replicas,
        "memory_max_mb": row["memory_max_mb"],
        "params": row["runtime_params"],
        "contract": row["contract"],
        "created_at": row["created_at"],
        "started_at": row["started_at"],
        "updated_at": row["updated_at"],
    }
