"""A look at what events concern besides their handlers' own business. Called where the table of events is put together.

What a handler has committed is looked at afterwards, and again when the event comes a second time, since a process can
end in between.
"""

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from functions.kit.bus import Duplicate, Handler
from functions.kit.events import CloudEvent
from functions.kit.kube import Json
from functions.kit.problem import Reject

Look = Callable[[CloudEvent], Awaitable[None]]


def around(table: Mapping[str, Handler], looks: Mapping[str, Look]) -> dict[str, Handler]:
    """The table with a look after each handler of a type that has one."""
    return {kind: _then(handler, looks[kind]) if kind in looks else handler for kind, handler in table.items()}


def object_of(event: CloudEvent) -> Json:
    """What an ApiServerSource sent. Raises Reject for what is no object."""
    try:
        return msgspec.json.decode(event.data, type=Json)
    except msgspec.MsgspecError as error:
        raise Reject(f"the event carries no object: {error}") from error


def _then(handler: Handler, look: Look) -> Handler:
    async def handle(event: CloudEvent) -> None:
        try:
            await handler(event)
        except Duplicate:
            await look(event)
            raise
        await look(event)

    return handle
