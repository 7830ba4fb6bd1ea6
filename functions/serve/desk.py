"""Takes requests for servers: decides what a request means for the records that exist, and writes it with its event.

Called by `POST`, `PATCH` and `DELETE /serve`, and by the handler of `model.available`. Nothing here talks to the
cluster: that is the work of the event that leaves with the record.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from functions.kit.bus import Unit
from functions.kit.db import Database
from functions.kit.events import ServerRequested
from functions.kit.problem import Forbidden, Problem
from functions.serve import limits, names, planning, records
from functions.serve.observe import Finding
from functions.serve.planning import Model
from functions.serve.problems import DoesNotFit, ModelNotAvailable, ModelNotFound, NameTaken, ServerNotFound
from functions.serve.records import SQL, Draft, Record
from functions.serve.requests import RolloutOptions, ServeOptions, ServePatch
from functions.serve.rollout import rows as rollouts
from functions.serve.rollout import trials
from functions.serve.runtimes import Runtimes
from functions.serve.settings import Settings
from functions.serve.states import Cause, State


@dataclass(frozen=True, slots=True)
class Desk:
    """Settings and runtimes of this installation."""

    settings: Settings
    runtimes: Runtimes

    def draft(self, model: Model, options: ServeOptions, actor: str) -> Draft:
        """What a record would say. Raises DoesNotFit, UnknownRuntime, BadParameter, BadName, ClusterLimit, NotPinned."""
        name = names.check(options.name) if options.name else names.from_model(model.name)
        plan = planning.plan(model, options, self.runtimes, self.settings.default_runtime)
        if not plan.verdict.fits:
            raise DoesNotFit(f"{model.name}: {plan.verdict.reason}", contract=msgspec.to_builtins(plan.verdict))
        limits.check(plan, self.settings)
        return Draft(name, model, options, actor, plan=plan)

    async def accept(
        self,
        unit: Unit,
        draft: Draft,
        rollout: RolloutOptions | None = None,
        covers: Callable[[str], bool] = lambda _: True,
    ) -> Record:
        """Write the record of a request; the same request again is the same record.

        A failed server of the same model takes the new request over. rollout: how a live server goes over to what the
        draft says; without it another server of this name is left alone. covers: whether the caller may use a model of
        this name, and so take its server over; without it somebody has looked before. Raises NameTaken, Forbidden.
        """
        existing = await self._locked(unit, draft.name)
        if existing is None:
            record = await records.add(unit.connection, draft, self.settings)
        elif rollout is not None:
            if not covers(existing.model_name):
                raise Forbidden(f"this credential does not cover the model {existing.model_name}")
            return await trials.change(unit, existing, draft, rollout, self.settings)
        elif _same(existing, draft) and existing.state is not State.FAILED:
            return existing
        elif existing.model_name == draft.model.name and existing.state is State.FAILED:
            record = await records.change(unit.connection, existing, draft)
        else:
            raise _taken(existing, draft)
        if record.state is State.PENDING:
            unit.emit(ServerRequested(record.uuid))
        return record

    async def refuse(self, unit: Unit, draft: Draft, problem: Problem) -> None:
        """Nobody waits for the answer of serve-on-available, so a record says why there is no server.

        A name that others hold stays theirs: the record then gets a spare one, by which it can be deleted.
        """
        draft = replace(draft, state=State.FAILED, error=problem.detail)
        existing = await self._locked(unit, draft.name)
        if existing is not None and (existing.model_name != draft.model.name or existing.state is not State.FAILED):
            draft, existing = replace(draft, name=names.spare(draft.name)), None
        if existing is None:
            await records.add(unit.connection, draft, self.settings)
        else:
            await records.change(unit.connection, existing, draft)

    async def patch(self, unit: Unit, record: Record, model: Model, patch: ServePatch, actor: str = "") -> Record:
        """Change what is asked for, by a rollout where something serves.

        Raises DoesNotFit, BadParameter, RolloutUnderWay, ClusterLimit; then nothing is changed.
        """
        options = patch.applied_to(record.options)
        draft = self.draft(model, _named(options, record.name), actor)
        return await trials.change(unit, record, replace(draft, options=options), patch.rollout, self.settings)

    async def delete(self, unit: Unit, record: Record) -> Record:
        """Mark it deleted, which frees its name, and let the event take its objects away."""
        now = datetime.now(UTC)
        gone = await records.move(unit.connection, record, record.observed, Finding(Cause.REMOVED, ""), now)
        trial = await rollouts.under_way(unit.connection, record.uuid)
        if trial is not None:
            await trials.supersede(unit, trial, "the server was deleted")
        unit.emit(ServerRequested(record.uuid))
        return gone

    async def find(self, unit: Unit, name: str) -> Record:
        """The live server of this name, locked until the transaction ends. Raises ServerNotFound."""
        record = await self._locked(unit, name)
        if record is None:
            raise ServerNotFound(f"no server is named {name[:63]!r}; GET /status lists those that are here")
        return record

    async def _locked(self, unit: Unit, name: str) -> Record | None:
        await unit.connection.execute(SQL.lock_name, self.settings.namespace, name)
        row = await unit.connection.fetchrow(SQL.find_server, self.settings.namespace, name)
        return records.record_of(row) if row else None


def _named(options: ServeOptions, name: str) -> ServeOptions:
    return msgspec.structs.replace(options, name=name)


def _same(existing: Record, draft: Draft) -> bool:
    return existing.model_uuid == draft.model.uuid and existing.options == draft.options


def _taken(existing: Record, draft: Draft) -> NameTaken:
    if existing.model_uuid == draft.model.uuid:
        return NameTaken(
            f"{existing.name} serves this model already, otherwise: PATCH /serve/{existing.name} changes it"
        )
    return NameTaken(
        f"{existing.name} serves {existing.model_name} ({existing.model_uuid}): choose another name, or let it go over to "
        f'{draft.model.name} with PATCH /serve/{existing.name} {{"model": ...}}, or with `rollout` in this request'
    )


async def find_model(db: Database | Any, key: str) -> Model:
    """A model by uuid or name. db: a database or a connection. Raises ModelNotFound."""
    row = await db.fetchrow(SQL.find_model, key)
    if row is None:
        raise ModelNotFound(f"no model is named {key[:255]!r}; GET /models lists those that are here")
    return records.model_of(row)


def require_available(model: Model) -> Model:
    """Raises ModelNotAvailable unless every file of it is verified."""
    if model.status != "available":
        raise ModelNotAvailable(f"{model.name} is {model.status}; GET /models/{model.uuid} shows how far it is")
    return model
