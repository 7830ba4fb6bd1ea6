"""The endpoints of evaluation on serve: ask for one, and end one. Reading is on status. Operators only."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from functions.kit import app
from functions.kit.events import EvaluationRequested
from functions.kit.identity import Identity
from functions.kit.problem import Forbidden, NotFound
from functions.serve import names
from functions.serve.deps import Deps
from functions.serve.evaluation import requests, rows
from functions.serve.evaluation.driver import Driver
from functions.serve.evaluation.requests import BadPrompts, EvaluationRequest
from functions.serve.evaluation.rows import SQL
from functions.serve.evaluation.states import EvaluationCause
from functions.serve.problems import BadName

# `<alias>-eval-<number>` is a server's name too; ten digits outlast every installation.
MAX_ALIAS: Final = names.MAX_LENGTH - len("-eval-") - 10


class EvaluationNotFound(NotFound):
    """Evaluation not found"""


class Calls:
    """What operators ask."""

    def __init__(self, deps: Deps, driver: Driver) -> None:
        self._deps = deps
        self._driver = driver

    async def ask(self, request: Request) -> Response:
        """POST /evaluations: 202 and the record; the same alias and content again is the same record."""
        who = await self._operator(request)
        asked = await app.body(request, EvaluationRequest)
        _require_alias(asked.alias)
        _require_covered(who, asked)
        prompts = await self._prompts(asked)
        row = await self._find_or_add(who, asked, prompts)
        return app.json(view(row), 202, {"Location": f"/evaluations/{row['uuid']}"})

    async def end(self, request: Request) -> Response:
        """DELETE /evaluations/{id}: one under way is cancelled, its temporary servers go; one that has ended is forgotten."""
        who = await self._operator(request)
        uuid = request.path_params["id"]
        async with self._deps.bus.transaction(actor=who.subject) as unit:
            await unit.connection.fetchrow(SQL.lock_evaluation, uuid)
            seen = await rows.read(unit.connection, uuid)
            if seen is None or not who.allows_model(seen.alias):
                raise EvaluationNotFound(
                    f"there is no evaluation {uuid[:64]!r}; GET /evaluations lists those that are here"
                )
            if seen.under_way:
                await self._driver.end(unit, seen, EvaluationCause.CANCELLED, f"cancelled by {who.subject}")
                return app.json(view(await unit.connection.fetchrow(SQL.read_evaluation, uuid)))
        await self._forget(uuid)
        return Response(status_code=204)

    async def _forget(self, uuid: str) -> None:
        """Objects first: a row without them is found again, objects without a row would stay for ever.

        Nothing leads out of an end, so no lock is held while S3 works.
        """
        await self._deps.objects.delete([requests.prompts_key(uuid)])
        await self._deps.db.execute(SQL.forget_evaluation, uuid)

    async def _operator(self, request: Request) -> Identity:
        who = await self._deps.verifier.identify(request.headers.get("authorization"))
        who.require("operate")
        return who

    async def _prompts(self, asked: EvaluationRequest) -> bytes:
        """The set as it will be kept: a later change of an object that was named changes no evaluation."""
        if not isinstance(asked.prompts, str):
            return requests.stored(asked.prompts)
        info = await self._deps.objects.head(asked.prompts)
        if info is None or info.size > requests.MAX_PROMPTS_BYTES:
            size = "is not in S3" if info is None else f"has more than {requests.MAX_PROMPTS_BYTES} bytes"
            raise BadPrompts(f"{asked.prompts} {size}")
        return requests.stored(requests.read(await self._deps.objects.get(asked.prompts) or b""))

    async def _find_or_add(self, who: Identity, asked: EvaluationRequest, prompts: bytes) -> Mapping[str, Any]:
        same = (self._deps.settings.namespace, asked.fingerprint(prompts))
        row: Mapping[str, Any] | None = await self._deps.db.fetchrow(SQL.find_same, *same)
        if row is not None:
            return row
        uuid = str(uuid4())
        # Stored first: an event for an evaluation without prompts would be in vain.
        await self._deps.objects.put(requests.prompts_key(uuid), prompts)
        async with self._deps.bus.transaction(actor=who.subject) as unit:
            row = await unit.connection.fetchrow(SQL.add_evaluation, uuid, *_columns(who, asked, same, prompts))
            if row is not None:
                await unit.connection.execute(SQL.add_candidates, uuid, list(asked.candidates))
                unit.emit(EvaluationRequested(uuid))
        if row is None:
            await self._deps.objects.delete([requests.prompts_key(uuid)])
            row = await self._deps.db.fetchrow(SQL.find_same, *same)
        assert row is not None  # noqa: S101  # it does not fail between two statements of the one who lost the race
        return row


def _columns(who: Identity, asked: EvaluationRequest, same: tuple[str, str], prompts: bytes) -> tuple[Any, ...]:
    """In the order of add_evaluation, after the uuid."""
    return (
        same[0],
        asked.alias,
        same[1],
        "its candidates are looked for",
        len(requests.read(prompts)),
        asked.min_score,
        None if asked.options is None else asked.options.as_json(),
        msgspec.to_builtins(asked.rollout),
        list(who.models),
        who.subject,
        float(asked.deadline_s),
    )


def _require_alias(alias: str) -> None:
    """Raises BadName for what no server can be called, with room for those that are served for the evaluation."""
    names.check(alias)
    if len(alias) > MAX_ALIAS:
        raise BadName(f"{alias} is too long for an alias: its temporary servers leave it {MAX_ALIAS} characters")


def _require_covered(who: Identity, asked: EvaluationRequest) -> None:
    """The alias now; candidates by their models' names when they are there, since anything may be named before."""
    if not who.allows_model(asked.alias):
        raise Forbidden(f"this credential does not cover the server {asked.alias}")


def view(row: Mapping[str, Any]) -> dict[str, Any]:
    """The record as POST and DELETE answer it; status has the candidates, scores and reasons."""
    names_ = ("alias", "status", "why", "prompts", "min_score", "deadline_at", "created_at", "finished_at")
    return {"id": row["uuid"], **{name: row[name] for name in names_}}
