"""State changes of models that more than one handler makes: failing, cancelling, and what both leave to clean up."""

from functions.download import states
from functions.download.files import SQL
from functions.kit.bus import Unit
from functions.kit.events import ModelFailed

# A reason is for people to read and for a database column, not for a page.
MAX_REASON = 1000


async def fail(unit: Unit, model_uuid: str, event: str, code: str, reason: str) -> bool:
    """Take the model to `failed` by `event` (refused, cancelled), stop its transfers and tell the others.

    Answers whether it was on its way at all; a model that is not is left as it is.
    """
    reason = reason[:MAX_REASON]
    allowed, after = states.allowing(states.MODEL, event), states.target(states.MODEL, event)
    await unit.connection.fetchval(SQL.lock_model, model_uuid)
    if await unit.connection.fetchval(SQL.move_model, model_uuid, allowed, after, code, reason) is None:
        return False
    await stop_transfers(unit, model_uuid)
    unit.emit(ModelFailed(model_uuid, reason))
    return True


async def stop_transfers(unit: Unit, model_uuid: str) -> None:
    """Take every running file's lease, so that its worker stops at its next beat."""
    allowed, after = states.allowing(states.FILE, "abandoned"), states.target(states.FILE, "abandoned")
    await unit.connection.execute(SQL.abandon_files, model_uuid, allowed, after)
