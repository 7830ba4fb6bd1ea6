"""State changes of models that more than one handler makes: failing, cancelling, and what both leave to clean up."""

from functions.download.blobs import shelf
from functions.download.files import SQL
from functions.download.states import FILE, MODEL, FileCause, ModelCause
from functions.kit import history
from functions.kit.bus import Unit
from functions.kit.events import ModelFailed
from functions.kit.history import Attempt

# A reason is for people to read and for a database column, not for a page.
MAX_REASON = 1000


async def fail(unit: Unit, model_uuid: str, cause: ModelCause, code: str, reason: str) -> bool:
    """Take the model to `failed` by `cause` (refused, cancelled), stop its transfers and tell the others.

    Answers whether it was on its way at all; a model that is not is left as it is, which goes into the history.
    """
    reason = reason[:MAX_REASON]
    state = await unit.connection.fetchval(SQL.lock_model, model_uuid)
    move = (MODEL.allowing(cause), MODEL.target(cause), code, reason)
    if await unit.connection.fetchval(SQL.move_model, model_uuid, *move) is None:
        await history.refused(unit, MODEL, Attempt(model_uuid, state, cause, reason))
        return False
    await stop_transfers(unit, model_uuid)
    unit.emit(ModelFailed(model_uuid, reason))
    return True


async def stop_transfers(unit: Unit, model_uuid: str) -> None:
    """Take every running file's lease, so that its worker stops at its next beat."""
    allowed, after = FILE.allowing(FileCause.ABANDONED), FILE.target(FileCause.ABANDONED)
    await unit.connection.execute(SQL.abandon_files, model_uuid, allowed, after)
    await shelf.let_go(unit, model_uuid)
