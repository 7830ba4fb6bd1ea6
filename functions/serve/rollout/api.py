"""A rollout by hand: promote, roll back, hold, go on. The automatic moves take the same path (`rows.move`).

The server's record is locked first, so of two people who decide at once one is first and the other gets 409.
"""

from datetime import UTC, datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from functions.kit import app
from functions.kit.bus import Unit
from functions.kit.events import RolloutMeasured
from functions.kit.problem import Forbidden
from functions.serve.deps import Deps
from functions.serve.desk import Desk
from functions.serve.problems import NoRollout, NotNow
from functions.serve.records import Record
from functions.serve.rollout import rows as rollouts
from functions.serve.rollout.rows import Move, Rollout
from functions.serve.rollout.states import ROLLOUT, RolloutCause

_WORDS: Final = {
    RolloutCause.FINISHED: "promotes it",
    RolloutCause.WITHDRAWN: "rolls it back",
    RolloutCause.HELD: "holds it",
    RolloutCause.RESUMED: "lets it go on",
}


class RolloutEndpoints:
    """What operators decide about a rollout."""

    def __init__(self, deps: Deps, front: Desk) -> None:
        self._deps = deps
        self._desk = front

    def routes(self) -> list[BaseRoute]:
        """One route for each decision."""
        endpoints = {
            "promote": self.promote,
            "rollback": self.rollback,
            "pause": self.pause,
            "resume": self.resume,
        }
        return [Route(f"/serve/{{name}}/{word}", each, methods=["POST"]) for word, each in endpoints.items()]

    async def promote(self, request: Request) -> Response:
        """POST /serve/{name}/promote: the candidate gets all of the traffic now; 409 unless it is ready."""
        return await self._decide(request, RolloutCause.FINISHED)

    async def rollback(self, request: Request) -> Response:
        """POST /serve/{name}/rollback: all traffic goes back to what served."""
        return await self._decide(request, RolloutCause.WITHDRAWN)

    async def pause(self, request: Request) -> Response:
        """POST /serve/{name}/pause: the candidate keeps the part of the traffic that it has."""
        return await self._decide(request, RolloutCause.HELD)

    async def resume(self, request: Request) -> Response:
        """POST /serve/{name}/resume: the step begins anew."""
        return await self._decide(request, RolloutCause.RESUMED)

    async def _decide(self, request: Request, cause: RolloutCause) -> Response:
        who = await self._deps.verifier.identify(request.headers.get("authorization"))
        who.require("operate")
        async with self._deps.bus.transaction(actor=who.subject) as unit:
            record = await self._desk.find(unit, request.path_params["name"])
            rollout = await _under_way(unit, record)
            for model in (record.model_name, rollout.model_name):
                if not who.allows_model(model):
                    raise Forbidden(f"this credential does not cover the model {model}")
            moved = await _move(unit, record, rollout, Move(cause, f"{who.subject} {_WORDS[cause]}"))
        return app.json(rollouts.view(moved), 202, {"Location": f"/status/{record.name}"})


async def _under_way(unit: Unit, record: Record) -> Rollout:
    rollout = await rollouts.under_way(unit.connection, record.uuid)
    if rollout is not None:
        return rollout
    last = await rollouts.last(unit.connection, record.uuid)
    ended = f"the last one, to {last.model_name}, is {last.state.replace('_', ' ')}" if last else "there was none yet"
    raise NoRollout(f"{record.name} goes over to nothing, {ended}; PATCH /serve/{record.name} begins one")


async def _move(unit: Unit, record: Record, rollout: Rollout, move: Move) -> Rollout:
    """Raises NotNow where the table has no such move."""
    if ROLLOUT.after(rollout.state, move.cause) is None:
        allowed = ", ".join(sorted(ROLLOUT.allowing(move.cause)))
        raise NotNow(
            f"the rollout of {record.name} is {rollout.state} ({rollout.row['why']}); this takes one that is {allowed}"
        )
    moved = await rollouts.move(unit, rollout, move, datetime.now(UTC))
    assert moved is not None  # noqa: S101  # the table was asked two lines above, and the row is locked
    if moved.under_way:
        unit.emit(RolloutMeasured(moved.uuid))
    return moved
