"""`inference.requested`: ask the model, hold the call until it has answered, keep the answer.

The state is in PostgreSQL and S3 at every moment, so whoever dies here is followed by the next one: the lease runs out,
the tick tells the request again, and an answer that was stored already is not asked for twice.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from functions.kit import actors
from functions.kit.bus import Bus, Duplicate, Unit
from functions.kit.db import Database
from functions.kit.events import CloudEvent, InferenceRequested
from functions.kit.objects import ObjectExists, Objects
from functions.kit.problem import Problem, Reject, Retry
from functions.serve import service
from functions.serve.asking import AnswerTooLarge, Asker
from functions.serve.deps import Deps
from functions.serve.inference import outcome, queue
from functions.serve.inference.outcome import Answered, Later, Outcome, Refused
from functions.serve.inference.queue import SQL, End, Places
from functions.serve.inference.states import InferenceCause, InferenceState

# A lease outlives two renewals that PostgreSQL did not take; who dies is followed that much later.
LEASE_S: Final = 15.0
# How soon a cancelled call is broken off.
RENEW_S: Final = 2.0
_LOG = logging.getLogger("torpor.serve.inference")


@dataclass(frozen=True, slots=True)
class Claim:
    """A request that this worker asks for. left_s: until its deadline."""

    row: Mapping[str, Any]
    lease: str
    left_s: float


class Gone:
    """The request is no longer this worker's: cancelled, or taken over."""


class Worker:
    """The handler of `inference.requested`."""

    def __init__(self, deps: Deps) -> None:
        self._settings = deps.settings
        self._db: Database = deps.db
        self._bus: Bus = deps.bus
        self._objects: Objects = deps.objects
        self._asker: Asker = deps.asker
        self._places = Places(deps.settings.inference_at_once, deps.settings.inference_per_server)

    async def __call__(self, event: CloudEvent) -> None:
        """Ask, if there is something to ask. Raises Retry to come again, Reject after the last attempt."""
        if await self._bus.seen(event):
            raise Duplicate(event.id)
        claim = await self._claim(event, event.decode(InferenceRequested).inference_uuid)
        if claim is None:
            # Not marked as handled: it may be a duplicate of the one that is being handled right now.
            return
        came = await self._held(claim)
        if isinstance(came, Later):
            await self._failed(claim, came)
        else:
            await self._over(event, claim, came)

    async def _claim(self, event: CloudEvent, uuid: str) -> Claim | None:
        """Take the lease, or end what need not be asked; None when there is nothing to ask."""
        async with self._bus.transaction() as unit:
            await unit.connection.execute(SQL.lock_queue)
            row = await unit.connection.fetchrow(SQL.lock_request, uuid)
            if row is not None and row["status"] == InferenceState.FAILED:
                row = await self._revived(unit, event, row)
            if row is None or not queue.allows(row, InferenceCause.CLAIMED) or queue.is_held(row):
                return None
            server = await unit.connection.fetchrow(SQL.server_of, row["server_uuid"])
            over = await self._over_before(unit, row, server)
            if over is not None:
                await queue.end(unit, row, over)
                await queue.tell(unit, self._places)
                return None
            if not queue.is_due(row):
                # The Broker, or a second event, is early: `tell` brings another one when it is time.
                return None
            if not self._places.free(
                await unit.connection.fetchrow(SQL.places_taken, row["server_uuid"], uuid), server
            ):
                await unit.connection.execute(SQL.untell_request, uuid)
                return None
            lease = uuid4().hex
            claimed = await unit.connection.fetchrow(SQL.claim_request, uuid, lease, LEASE_S, InferenceState.RUNNING)
            return Claim(claimed, lease, (row["deadline_at"] - row["read_at"]).total_seconds())

    async def _revived(self, unit: Unit, event: CloudEvent, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """A request that failed starts anew if an operator had this event's dead letter sent again since."""
        if await unit.connection.fetchval(SQL.was_redriven, event.source, event.id, row["finished_at"]) is None:
            return row
        revived = await unit.connection.fetchrow(SQL.revive_request, row["uuid"], InferenceState.QUEUED)
        return {**revived, "read_at": row["read_at"]}

    async def _over_before(self, unit: Unit, row: Mapping[str, Any], server: Mapping[str, Any] | None) -> End | None:
        """Why it is over without being asked."""
        if row["deadline_at"] <= row["read_at"]:
            return _expired()
        if server is None or server["status"] == "deleted":
            return End(InferenceCause.REFUSED, f"the server {row['server_name']} was deleted; ask another one")
        refusal = await actors.refusal(unit.connection, row["subject"], "infer")
        if refusal is None and row["key_id"] is not None:
            good = await unit.connection.fetchval(SQL.key_is_good, row["key_id"])
            refusal = None if good else "the API key with which it was asked for is revoked or has expired; ask again"
        return None if refusal is None else End(InferenceCause.REFUSED, refusal)

    async def _held(self, claim: Claim) -> Outcome | Gone:
        """Ask while the lease is renewed, and hang up when it cannot be. Never longer than until the deadline."""
        asking = asyncio.create_task(self._ask(claim))
        watching = asyncio.create_task(self._watch(claim))
        try:
            done, _ = await asyncio.wait(
                {asking, watching}, timeout=max(0.0, claim.left_s), return_when=asyncio.FIRST_COMPLETED
            )
            if asking in done:
                return asking.result()
            return Gone() if watching in done else Later(0, "its deadline has passed")
        finally:
            asking.cancel()
            watching.cancel()
            await asyncio.gather(asking, watching, return_exceptions=True)

    async def _watch(self, claim: Claim) -> None:
        """Renew the lease; end when the request is somebody else's, or when nobody can say that it is still ours."""
        now = asyncio.get_running_loop().time
        believed_until = now() + LEASE_S
        while now() < believed_until:
            await asyncio.sleep(RENEW_S)
            try:
                if await self._db.fetchval(SQL.renew_lease, claim.row["uuid"], claim.lease, LEASE_S) is None:
                    return
                believed_until = now() + LEASE_S
            except Problem as problem:
                _LOG.warning("a lease could not be renewed: %s", problem.detail)

    async def _ask(self, claim: Claim) -> Outcome:
        """One attempt, its answer stored. An answer that somebody before us has stored is the answer."""
        row = claim.row
        try:
            stored = await self._objects.get(queue.result_key(row["uuid"])) if row["attempts"] > 1 else None
            came = Answered(stored) if stored is not None else await self._asked(row)
            return came if stored is not None or not isinstance(came, Answered) else await self._stored(row, came)
        except AnswerTooLarge as problem:
            return Refused(0, problem.detail)
        except Problem as problem:
            return Later(0, problem.detail)

    async def _asked(self, row: Mapping[str, Any]) -> Outcome:
        body = await self._objects.get(queue.request_key(row["uuid"]))
        if body is None:
            return Refused(0, "the request's body is no longer in S3; ask again")
        answer = await self._asker.ask(
            service.host(row["server_name"], self._settings.namespace),
            row["path"],
            body,
            subject=row["subject"],
            key_id=row["key_id"] or "",
            timeout_s=self._settings.inference_call_s,
        )
        return outcome.of(answer)

    async def _stored(self, row: Mapping[str, Any], came: Answered) -> Answered:
        """The first answer counts, also when it is that of a worker whose lease ran out in between."""
        key = queue.result_key(row["uuid"])
        try:
            await self._objects.put(key, came.body, if_none_match=True)
        except ObjectExists:
            return Answered(await self._objects.get(key) or came.body)
        return came

    async def _over(self, event: CloudEvent, claim: Claim, came: Answered | Refused | Gone) -> None:
        async with self._bus.transaction(cause=event) as unit:
            row = await self._ours(unit, claim)
            if row is not None and isinstance(came, Answered):
                await queue.end(unit, row, End(InferenceCause.ANSWERED, result_bytes=len(came.body)))
            elif row is not None and isinstance(came, Refused):
                await queue.end(unit, row, End(InferenceCause.REFUSED, came.error, came.status or None))
            await queue.tell(unit, self._places)

    async def _failed(self, claim: Claim, came: Later) -> None:
        """Not answered: the Broker brings the event again, or keeps it among the dead letters after the last attempt."""
        attempts, status = claim.row["attempts"], came.status or None
        async with self._bus.transaction() as unit:
            row = await self._ours(unit, claim)
            late = row is not None and row["deadline_at"] <= row["read_at"]
            last = row is not None and not late and attempts >= self._settings.inference_attempts
            wait_s = outcome.wait_s(attempts)
            if row is not None and late:
                await queue.end(unit, row, _expired())
            elif row is not None and last:
                await queue.end(unit, row, End(InferenceCause.REFUSED, _gave_up(attempts, came), status))
            elif row is not None:
                await unit.connection.fetchrow(
                    SQL.release_request, row["uuid"], InferenceState.QUEUED, wait_s, status, came.error
                )
            await queue.tell(unit, self._places)
        if last:
            raise Reject(_gave_up(attempts, came))
        if row is not None and not late:
            raise Retry(wait_s, came.error)

    async def _ours(self, unit: Unit, claim: Claim) -> Mapping[str, Any] | None:
        """The row, locked, if it still has our lease."""
        await unit.connection.execute(SQL.lock_queue)
        row: Mapping[str, Any] | None = await unit.connection.fetchrow(SQL.lock_request, claim.row["uuid"])
        return row if row is not None and row["lease"] == claim.lease else None


def _expired() -> End:
    return End(InferenceCause.EXPIRED, "its deadline passed before the model had answered")


def _gave_up(attempts: int, came: Later) -> str:
    return f"the model did not answer in {attempts} attempts; the last time: {came.error}"
