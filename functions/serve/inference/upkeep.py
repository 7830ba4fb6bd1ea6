"""What the tick does for asynchronous inference: whatever an event should have done and did not is done now."""

from typing import Final

from functions.kit.events import CloudEvent, WebhookRequested
from functions.serve.deps import Deps
from functions.serve.inference import queue
from functions.serve.inference.queue import SQL, End, Places
from functions.serve.inference.states import InferenceCause

# Rows of one tick, which has seconds; the next one goes on.
BATCH: Final = 200
# Longer than the Trigger retries (four minutes).
CALLBACK_LOST_S: Final = 600.0
# A caller who had no answer has tried again by then, or has given up.
NEVER_STORED_S: Final = 3600.0


class Upkeep:
    """One round of it."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._places = Places(deps.settings.inference_at_once, deps.settings.inference_per_server)

    async def __call__(self, _: CloudEvent) -> None:
        """End what is overdue, tell who can run, remind of webhooks, forget what is old."""
        await self._drive()
        await self._forget()

    async def _drive(self) -> None:
        async with self._deps.bus.transaction() as unit:
            await unit.connection.execute(SQL.lock_queue)
            for overdue in await unit.connection.fetch(SQL.list_overdue, BATCH):
                row = await unit.connection.fetchrow(SQL.lock_request, overdue["uuid"])
                if queue.allows(row, InferenceCause.EXPIRED) and not queue.is_held(row):
                    await queue.end(unit, row, End(InferenceCause.EXPIRED, "its deadline passed before its turn"))
            await queue.tell(unit, self._places)
            for lost in await unit.connection.fetch(SQL.tell_callbacks, CALLBACK_LOST_S, BATCH):
                unit.emit(WebhookRequested(lost["uuid"]), actor=lost["subject"])

    async def _forget(self) -> None:
        """The rows are gone with the objects: objects without a row would stay for ever, so a failure keeps both."""
        keep_s = float(self._deps.settings.inference_keep_s)
        async with self._deps.bus.transaction() as unit:
            old = [
                row["uuid"] for row in await unit.connection.fetch(SQL.forget_requests, keep_s, NEVER_STORED_S, BATCH)
            ]
            if old:
                await self._deps.objects.delete(
                    [key(uuid) for uuid in old for key in (queue.request_key, queue.result_key)]
                )
