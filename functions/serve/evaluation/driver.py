"""Moves an evaluation: the handler of `evaluation.requested`, which says no more than that one is worth a look.

Each event does one bounded piece of work: look whether the candidates are there, ask for a temporary server, ask a few
prompts, write the pointer. What takes time happens first; one transaction then writes what came of it, if nobody else has
moved the evaluation meanwhile, and emits the next event. Killed anywhere, the next look finds the same.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from functions.kit import actors
from functions.kit.bus import Unit
from functions.kit.events import CloudEvent, EvaluationRequested, ModelSelected
from functions.kit.problem import Problem, Retry
from functions.serve import desk, records, service
from functions.serve.deps import Deps
from functions.serve.desk import Desk
from functions.serve.evaluation import pointer, requests, rows, scoring
from functions.serve.evaluation.pointer import Pointer
from functions.serve.evaluation.requests import Prompt
from functions.serve.evaluation.rows import SQL, Candidate, Evaluation
from functions.serve.evaluation.scoring import Result
from functions.serve.evaluation.slices import Questioner
from functions.serve.evaluation.states import CandidateState, EvaluationCause, EvaluationState
from functions.serve.problems import ServerNotFound
from functions.serve.requests import ServeOptions

Commit = Callable[[Unit], Awaitable[None]]

_SERVING: Final = frozenset({"ready", "asleep"})


class Driver:
    """Looks at evaluations and moves them."""

    def __init__(self, deps: Deps, front: Desk) -> None:
        self._deps = deps
        self._desk = front

    async def __call__(self, event: CloudEvent) -> None:
        """Look at one. One that has ended, or is gone, is nobody's business any more."""
        async with self._deps.bus.alone(event):
            seen = await rows.read(self._deps.db, event.decode(EvaluationRequested).evaluation_uuid)
            commit = await self._work(seen) if seen is not None and seen.under_way else None
            async with self._deps.bus.transaction(cause=event) as unit:
                if seen is not None and commit is not None and await rows.unchanged(unit, seen):
                    await self._if_allowed(unit, seen, commit)

    async def _if_allowed(self, unit: Unit, seen: Evaluation, commit: Commit) -> None:
        refusal = await actors.refusal(unit.connection, seen.actor)
        if refusal is None:
            await commit(unit)
        else:
            await self.end(unit, seen, EvaluationCause.REFUSED, refusal)

    async def end(self, unit: Unit, seen: Evaluation, cause: EvaluationCause, why: str) -> None:
        """Over without a winner; what is still served for it goes."""
        for candidate in seen.candidates:
            await rows.drop(unit, seen, candidate, why, cancelled=cause is EvaluationCause.CANCELLED)
            await self._take_down(unit, candidate)
        await rows.move(unit, seen, cause, why)

    async def _work(self, seen: Evaluation) -> Commit:
        """What takes time, and then what is to be written."""
        if seen.state is EvaluationState.WAITING:
            return await self._gather(seen)
        if seen.state is EvaluationState.PROMOTING:
            return await self._promote(seen)
        candidate = seen.turn
        return partial(self._decide, seen) if candidate is None else await self._take(seen, candidate)

    async def _take(self, seen: Evaluation, candidate: Candidate) -> Commit:
        if candidate.late:
            return partial(self._give_up, seen, candidate, f"it was not done after {rows.CANDIDATE_S / 60:.0f} minutes")
        if candidate.state is CandidateState.WAITING:
            return partial(self._deploy, seen, candidate)
        if candidate.state is CandidateState.DEPLOYING:
            return partial(self._watch, seen, candidate)
        return await self._ask(seen, candidate)

    # --- waiting for the candidates ---

    async def _gather(self, seen: Evaluation) -> Commit:
        found = [await self._deps.db.fetchrow(SQL.find_model, each.asked_as) for each in seen.candidates]
        missing = [each.asked_as for each, row in zip(seen.candidates, found, strict=True) if _may_come(row)]
        if missing and not seen.overdue:
            return partial(_waits, seen, f"waits for {', '.join(missing)}")
        return partial(self._begin, seen, found)

    async def _begin(self, seen: Evaluation, found: Sequence[Any], unit: Unit) -> None:
        there = 0
        for candidate, row in zip(seen.candidates, found, strict=True):
            obstacle = _obstacle(seen, row)
            if row is not None:
                named = (row["uuid"], row["model_name"])
                await unit.connection.execute(SQL.name_candidate, seen.uuid, candidate.position, *named)
            if obstacle:
                await rows.drop(unit, seen, candidate, obstacle)
            there += not obstacle
        if there:
            await rows.move(unit, seen, EvaluationCause.GATHERED, f"{there} of {len(found)} candidates are there")
            _again(unit, seen)
        else:
            await rows.move(unit, seen, EvaluationCause.REFUSED, "none of the candidates can be served; each says why")

    # --- serving one candidate ---

    async def _deploy(self, seen: Evaluation, candidate: Candidate, unit: Unit) -> None:
        name = f"{seen.alias}-eval-{candidate.number}"
        try:
            model = desk.require_available(await desk.find_model(unit.connection, candidate.model_uuid))
            wanted = await self._options(unit, seen)
            scale = msgspec.structs.replace(wanted.scale, min=None, max=1)
            options = msgspec.structs.replace(wanted, name=name, scale=scale)
            record = await self._desk.accept(unit, self._desk.draft(model, options, seen.actor))
        except Retry:
            raise
        except Problem as problem:
            await self._give_up(seen, candidate, problem.detail, unit)
            return
        made = (record.uuid, record.name, model.uuid, model.name)
        await unit.connection.execute(
            SQL.deploy_candidate, seen.uuid, candidate.position, CandidateState.DEPLOYING, *made
        )
        await _waits(seen, f"{model.name} is being served as {name}", unit)

    async def _options(self, unit: Unit, seen: Evaluation) -> ServeOptions:
        """As asked; without a word as the alias is served now, so that what is measured is what is promoted."""
        if seen.options is not None:
            return seen.options
        row = await unit.connection.fetchrow(SQL.find_alias, self._desk.settings.namespace, seen.alias)
        return records.record_of(row).options if row else ServeOptions()

    async def _watch(self, seen: Evaluation, candidate: Candidate, unit: Unit) -> None:
        server = await unit.connection.fetchrow(SQL.server_of, candidate.server_uuid)
        if server is None or server["status"] == "deleted":
            await self._give_up(seen, candidate, "its temporary server was deleted", unit)
        elif server["status"] == "failed":
            await self._give_up(seen, candidate, f"it could not be served: {server['error']}", unit)
        elif server["status"] in _SERVING:
            place = (seen.uuid, candidate.position, CandidateState.ASKING, "")
            await unit.connection.execute(SQL.move_candidate, *place)
            _again(unit, seen)
        else:
            await _waits(seen, f"{candidate.model_name} is being served as {candidate.server_name}", unit)

    async def _give_up(self, seen: Evaluation, candidate: Candidate, why: str, unit: Unit) -> None:
        await rows.drop(unit, seen, candidate, why)
        await self._take_down(unit, candidate)
        _again(unit, seen)

    async def _take_down(self, unit: Unit, candidate: Candidate) -> None:
        """Delete its temporary server, unless that is gone or its name is somebody else's by now."""
        if not candidate.server_name:
            return
        try:
            record = await self._desk.find(unit, candidate.server_name)
        except ServerNotFound:
            return
        if record.uuid == candidate.server_uuid:
            await self._desk.delete(unit, record)

    # --- asking ---

    async def _ask(self, seen: Evaluation, candidate: Candidate) -> Commit:
        data = await self._deps.objects.get(requests.prompts_key(seen.uuid))
        try:
            prompts = requests.read(data or b"")
        except Problem as problem:
            return partial(self._end, seen, problem.detail)
        host = service.host(candidate.server_name, self._desk.settings.namespace)
        questioner = Questioner(self._deps.asker, host, candidate.server_name, seen.actor)
        results = await questioner.ask(prompts[len(candidate.results) :])
        return partial(self._note, seen, candidate, prompts, results)

    async def _end(self, seen: Evaluation, why: str, unit: Unit) -> None:
        await self.end(unit, seen, EvaluationCause.REFUSED, why)

    async def _note(
        self, seen: Evaluation, candidate: Candidate, prompts: Sequence[Prompt], new: Sequence[Result], unit: Unit
    ) -> None:
        if not new:
            await _waits(seen, f"{candidate.server_name} does not answer yet; it is asked again", unit)
            return
        before = len(candidate.results)
        added = (seen.uuid, candidate.position, before, msgspec.to_builtins(new))
        if await unit.connection.fetchval(SQL.add_results, *added) is None:
            return
        results = [*candidate.results, *new]
        await _waits(seen, f"{candidate.model_name} has answered {len(results)} of {len(prompts)} prompts", unit)
        if len(results) == len(prompts):
            score = (scoring.score(prompts, results), scoring.latency(results))
            await unit.connection.execute(
                SQL.score_candidate, seen.uuid, candidate.position, CandidateState.SCORED, *score
            )
            await self._take_down(unit, candidate)
        _again(unit, seen)

    # --- the winner ---

    async def _decide(self, seen: Evaluation, unit: Unit) -> None:
        best = scoring.winner([each.standing for each in seen.candidates], seen.min_score)
        if best is None:
            await rows.move(unit, seen, EvaluationCause.REFUSED, f"no candidate reached a score of {seen.min_score:g}")
            return
        name = seen.candidates[best.position].model_name
        why = f"{name} has the best score: {best.score:g}"
        await rows.move(unit, seen, EvaluationCause.DECIDED, why, best.position)
        _again(unit, seen)

    async def _promote(self, seen: Evaluation) -> Commit:
        best = seen.candidates[seen.winner or 0]
        score = best.standing.score or 0.0
        said = Pointer(seen.alias, seen.number, seen.uuid, best.model_uuid, best.model_name, score)
        if not await pointer.point(self._deps.objects, said):
            return partial(_overtaken, seen)
        return partial(self._go_over, seen, said)

    async def _go_over(self, seen: Evaluation, said: Pointer, unit: Unit) -> None:
        """The alias's server is told to become the winner: made if there is none, by a rollout otherwise."""
        named = (self._desk.settings.namespace, seen.alias, said.number, seen.uuid, said.model_uuid, said.model_name)
        if await unit.connection.fetchval(SQL.promote, *named, said.score) is None:
            await _overtaken(seen, unit)
            return
        try:
            model = desk.require_available(await desk.find_model(unit.connection, said.model_uuid))
            options = msgspec.structs.replace(await self._options(unit, seen), name=seen.alias)
            draft = self._desk.draft(model, options, seen.actor)
            await self._desk.accept(unit, draft, seen.rollout)
        except Retry:
            raise
        except Problem as problem:
            why = f"{said.model_name} has won and cannot be served as {seen.alias}: {problem.detail}"
            await rows.move(unit, seen, EvaluationCause.REFUSED, why)
            return
        why = f"{said.model_name} has won with a score of {said.score:g}"
        await rows.move(unit, seen, EvaluationCause.POINTED, why)
        unit.emit(ModelSelected(seen.uuid, seen.alias, said.model_uuid), modelname=said.model_name)


async def _waits(seen: Evaluation, why: str, unit: Unit) -> None:
    await unit.connection.execute(SQL.touch_evaluation, seen.uuid, why)


async def _overtaken(seen: Evaluation, unit: Unit) -> None:
    await rows.move(unit, seen, EvaluationCause.OVERTAKEN, f"a later evaluation of {seen.alias} has its winner already")


def _again(unit: Unit, seen: Evaluation) -> None:
    unit.emit(EvaluationRequested(seen.uuid), actor=seen.actor)


def _may_come(row: Any) -> bool:
    """Whether a model that was named is still on its way, or not asked for yet."""
    return row is None or row["status"] not in {"available", "failed"}


def _obstacle(seen: Evaluation, row: Any) -> str:
    """Why a candidate is not served; empty when it is."""
    if row is None:
        return "no model of this name was there by the deadline"
    if not seen.covers(row["model_name"]):
        return f"the credential that asked does not cover the model {row['model_name']}"
    if row["status"] == "available":
        return ""
    why = f": {row['error']}" if row["error"] else ""
    return f"the model is {row['status']}{why}" if row["status"] == "failed" else "it was not available by the deadline"
