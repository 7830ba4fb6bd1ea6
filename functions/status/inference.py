"""Asynchronous inference as whoever asked sees it: how far the request is, and its answer. Called by the routes."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from functions.kit.db import queries
from functions.kit.identity import Identity
from functions.kit.problem import Conflict, NotFound, Problem
from functions.status.deps import Deps

SQL = queries(str(Path(__file__)))
COMPLETED: Final = "completed"
# Answers of chats are smaller; a larger one is read at its own address.
INLINE_BYTES: Final = 65_536
# Read from S3 at once, so that a large answer takes no more memory than this.
CHUNK_BYTES: Final = 1_048_576


class InferenceNotFound(NotFound):
    """Inference request not found"""


class NoResult(Conflict):
    """The inference request has no result"""


class CallbackView(msgspec.Struct, frozen=True):
    """How the webhook is doing: to which host, pending, delivered or failed, and what went wrong the last time."""

    host: str
    status: str | None
    attempts: int
    error: str | None


class InferenceView(msgspec.Struct, frozen=True):
    """One request. result: the answer, where it is small and at hand; result_url: where it is in any case."""

    id: str
    subject: str
    server: str
    model: str
    path: str
    status: str
    attempts: int
    error: str | None
    http_status: int | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline_at: datetime
    result_bytes: int | None
    result_url: str | None
    result: msgspec.Raw | None = None
    callback: CallbackView | None = None


class Answers:
    """The endpoints."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def request(self, request: Request, who: Identity) -> object:
        """GET /inference/{id}: the caller's own, or for operators anybody's; with the answer while that is small."""
        row = await self._find(request.path_params["id"], who)
        return msgspec.structs.replace(inference_view(row), result=await self._small(row))

    async def result(self, request: Request) -> Response:
        """GET /inference/{id}/result: the model's answer as it was, streamed."""
        who = await self._deps.verifier.identify(request.headers.get("authorization"))
        who.require("infer")
        row = await self._find(request.path_params["id"], who)
        if row["status"] != COMPLETED:
            raise NoResult(f"the request is {row['status']}{': ' + row['error'] if row['error'] else ''}")
        first = await self._deps.objects.get(result_key(row["uuid"]), 0, CHUNK_BYTES) if row["result_bytes"] else b""
        if first is None:
            raise NoResult("its result is no longer kept")
        headers = {"content-length": str(row["result_bytes"])}
        return StreamingResponse(self._stream(row, first), 200, headers, media_type="application/json")

    async def _find(self, uuid: str, who: Identity) -> Mapping[str, Any]:
        row: Mapping[str, Any] | None = await self._deps.db.fetchrow(
            SQL.find_inference, uuid, who.subject, "operate" in who.actions
        )
        if row is None:
            raise InferenceNotFound(f"there is no inference request {uuid[:64]!r}")
        return row

    async def _small(self, row: Mapping[str, Any]) -> msgspec.Raw | None:
        """The answer to be shown inside the record. Without S3 the record is still told."""
        if row["status"] != COMPLETED or not 0 < row["result_bytes"] <= INLINE_BYTES:
            return None
        try:
            body = await self._deps.objects.get(result_key(row["uuid"]))
            return None if body is None else _json(body)
        except Problem:
            return None

    async def _stream(self, row: Mapping[str, Any], first: bytes) -> AsyncIterator[bytes]:
        yield first
        for start in range(CHUNK_BYTES, row["result_bytes"], CHUNK_BYTES):
            chunk = await self._deps.objects.get(result_key(row["uuid"]), start, start + CHUNK_BYTES)
            if chunk is None:
                raise NoResult("its result went while it was read")
            yield chunk


def inference_view(row: Mapping[str, Any]) -> InferenceView:
    """One row of inference_requests. Of the callback only the host: its path may be a secret."""
    host = urlsplit(row["callback_url"] or "").hostname
    told = (row["callback_status"], row["callback_attempts"], row["callback_error"])
    return InferenceView(
        id=row["uuid"],
        subject=row["subject"],
        server=row["server_name"],
        model=row["model_name"],
        path=row["path"],
        status=row["status"],
        attempts=row["attempts"],
        error=row["error"],
        http_status=row["http_status"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        deadline_at=row["deadline_at"],
        result_bytes=row["result_bytes"],
        result_url=f"/inference/{row['uuid']}/result" if row["status"] == COMPLETED else None,
        callback=CallbackView(host, *told) if host else None,
    )


def result_key(uuid: str) -> str:
    """Where serve has put the answer's body in S3."""
    return f"inference/{uuid}/result.json"


def _json(body: bytes) -> msgspec.Raw | None:
    """The bytes as a part of a document, if they are one: what an engine answers usually is."""
    try:
        msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return msgspec.Raw(body)
