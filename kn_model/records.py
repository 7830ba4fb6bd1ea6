"""The JSON that Torpor's HTTP API answers with, as far as the commands read it. Fields as in the functions' views."""

from typing import Any, TypedDict


class FileRecord(TypedDict):
    """One file of a model: bytes, bytes per second, seconds left."""

    path: str
    size: int | None
    sha256: str | None
    status: str
    bytes_done: int
    rate_bps: float
    eta_s: float | None
    error: str | None


class ServerRecord(TypedDict):
    """A server: one Knative Service that serves a model."""

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
    memory_max_mb: int
    params: Any
    created_at: str


class ModelRecord(TypedDict):
    """A model: what was asked for, how far its download is, what serves it. `files` is null in lists."""

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
    created_at: str
    server: ServerRecord | None
    files: list[FileRecord] | None
