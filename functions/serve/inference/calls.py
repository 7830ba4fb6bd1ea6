"""The endpoints of asynchronous inference on serve: ask, and cancel. Reading is on status."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from functions.kit import app
from functions.kit.identity import Identity
from functions.kit.problem import Conflict, Forbidden, NotFound, TooManyRequests, Unprocessable
from functions.serve.deps import Deps
from functions.serve.inference import queue, requests
from functions.serve.inference.queue import SQL, End, Places
from functions.serve.inference.requests import Callback, InferenceRequest
from functions.serve.inference.states import InferenceCause, InferenceState
from functions.serve.problems import ServerNotFound


class InferenceNotFound(NotFound):
    """Inference request not found"""


class InferenceEnded(Conflict):
    """The inference request has ended"""


class KeyReused(Unprocessable):
    """The Idempotency-Key belongs to another request"""


class TooManyOpen(TooManyRequests):
    """Too many inference requests wait"""


class ServerFailed(Conflict):
    """The server has failed"""


class CallbackRefused(Unprocessable):
    """The callback cannot be used"""


class Calls:
    """What people and programs ask; everybody who may infer."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._places = Places(deps.settings.inference_at_once, deps.settings.inference_per_server)

    async def ask(self, request: Request) -> Response:
        """POST /inference: 202 and the record; the same Idempotency-Key again is the same record."""
        who = await self._deps.verifier.identify(request.headers.get("authorization"))
        who.require("infer")
        key = requests.idempotency_key(request.headers.getlist("idempotency-key"))
        asked = await app.body(request, InferenceRequest)
        row = await self._deps.db.fetchrow(SQL.find_by_key, who.subject, key)
        if row is None:
            row = await self._add(who, key, asked)
        if row["fingerprint"] != asked.fingerprint:
            raise KeyReused(f"it was used for {row['uuid']}, which asked for something else: send a new key")
        if row["accepted_at"] is None:
            row = await self._accept(row, asked)
        return app.json(view(row), 202, {"Location": f"/inference/{row['uuid']}"})

    async def cancel(self, request: Request) -> Response:
        """DELETE /inference/{id}: the record, cancelled; a call that is under way is broken off within seconds."""
        who = await self._deps.verifier.identify(request.headers.get("authorization"))
        if "operate" not in who.actions:
            who.require("infer")
        uuid = request.path_params["id"]
        async with self._deps.bus.transaction(actor=who.subject) as unit:
            await unit.connection.execute(SQL.lock_queue)
            row = await unit.connection.fetchrow(SQL.lock_request, uuid)
            if row is None or not _may_see(who, row):
                raise InferenceNotFound(f"there is no inference request {uuid[:64]!r}")
            if row["status"] != InferenceState.CANCELLED:
                if not queue.allows(row, InferenceCause.CANCELLED):
                    raise InferenceEnded(f"it is {row['status']} already; its result goes by itself after a while")
                row = await queue.end(unit, row, End(InferenceCause.CANCELLED, f"cancelled by {who.subject}"))
                await queue.tell(unit, self._places)
        return app.json(view(row))

    async def _add(self, who: Identity, key: str, asked: InferenceRequest) -> Mapping[str, Any]:
        """The new row, or the one that a request of the same moment has made."""
        server = await self._server(who, asked)
        self._require_callback(asked.callback)
        asked.body_for(server["service_name"])
        await self._require_room(who)
        callback = asked.callback or Callback("-")
        row: Mapping[str, Any] | None = await self._deps.db.fetchrow(
            SQL.add_request,
            str(uuid4()),
            who.subject,
            who.key_id,
            key,
            asked.fingerprint,
            server["uuid"],
            server["service_name"],
            server["model_name"],
            asked.path,
            float(asked.deadline_s or self._deps.settings.inference_deadline_s),
            asked.callback and callback.url,
            callback.secret or None,
        )
        if row is None:
            row = await self._deps.db.fetchrow(SQL.find_by_key, who.subject, key)
        assert row is not None  # noqa: S101  # rows go a week after their end, not between two statements
        return row

    async def _accept(self, row: Mapping[str, Any], asked: InferenceRequest) -> Mapping[str, Any]:
        """Store the body first: an event for a request without one would be asked in vain."""
        await self._deps.objects.put(queue.request_key(row["uuid"]), asked.body_for(row["server_name"]))
        async with self._deps.bus.transaction(actor=row["subject"]) as unit:
            await unit.connection.execute(SQL.lock_queue)
            accepted: Mapping[str, Any] | None = await unit.connection.fetchrow(SQL.accept_request, row["uuid"])
            await queue.tell(unit, self._places)
        return accepted or row

    async def _server(self, who: Identity, asked: InferenceRequest) -> Mapping[str, Any]:
        """The server that is meant. Raises ServerNotFound, ServerFailed, Forbidden, NotAsynchronous."""
        by_model = isinstance(asked.model, str)
        name = str(asked.model if by_model else asked.server)
        row: Mapping[str, Any] | None = await self._deps.db.fetchrow(
            SQL.find_server, self._deps.settings.namespace, name, by_model
        )
        if row is None:
            raise ServerNotFound(f"nothing serves {name!r}; GET /status lists what does")
        if not any(map(who.allows_model, (row["service_name"], row["model_name"]))):
            raise Forbidden(f"this credential does not cover the model {row['model_name']}")
        if row["status"] == "failed":
            raise ServerFailed(f"{row['service_name']} has failed: {row['error']}")
        params = row["runtime_params"] or {}
        kinds = self._deps.runtimes.get(params["runtime"]).kinds
        requests.require_path(asked.path, kinds[params["kind"]].paths)
        return row

    async def _require_room(self, who: Identity) -> None:
        """Raises TooManyOpen; a few more than the limit come through when many are sent at once, which hurts nobody."""
        most = self._deps.settings.inference_open
        if await self._deps.db.fetchval(SQL.count_open, who.subject) >= most:
            raise TooManyOpen(
                f"{most} of your requests wait or run; send the next when one has ended", headers={"Retry-After": "60"}
            )

    def _require_callback(self, callback: Callback | None) -> None:
        if callback is not None:
            from functions.serve.inference import webhook

            webhook.check(callback.url, self._deps.settings.webhook_hosts, CallbackRefused)


def _may_see(who: Identity, row: Mapping[str, Any]) -> bool:
    return row["subject"] == who.subject or "operate" in who.actions


def view(row: Mapping[str, Any]) -> dict[str, Any]:
    """The record as POST and DELETE answer it; status answers the same fields, and the result."""
    names = ("status", "path", "attempts", "error", "http_status")
    times = ("created_at", "started_at", "finished_at", "deadline_at")
    head = {"id": row["uuid"], "server": row["server_name"], "model": row["model_name"]}
    return {**head, **{name: row[name] for name in (*names, *times)}}
