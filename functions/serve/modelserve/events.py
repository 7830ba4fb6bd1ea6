"""Which events make `serve` look at ModelServe resources: those of the resources, and all that moves their servers.

Wraps the table of handlers, so that none of them has to know of resources: what a handler has committed is shown in the
status.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from functions.kit import events
from functions.kit.bus import Handler
from functions.kit.events import CloudEvent, ModelAvailable, ServerRequested
from functions.kit.problem import Reject
from functions.serve import afterwards, observe
from functions.serve.afterwards import Look
from functions.serve.modelserve import spec
from functions.serve.modelserve.resource import ModelServes

# RFC 1123: it becomes part of a selector.
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def around(table: Mapping[str, Handler], resources: ModelServes) -> Mapping[str, Handler]:
    """The table with a look at the resources that each event concerns, and the handler of their own events."""

    async def changed(event: CloudEvent) -> None:
        await resources.look(_named(event))

    async def of_model(_: CloudEvent) -> None:
        await resources.look_at_waiting()

    async def of_server(event: CloudEvent) -> None:
        await resources.look_at_owner(event.decode(ServerRequested).server_uuid)

    async def of_object(event: CloudEvent) -> None:
        if uuid := observe.server_uuid(afterwards.object_of(event)):
            await resources.look_at_owner(uuid)

    concerned: dict[str, Look] = {
        ModelAvailable.TYPE: of_model,
        ServerRequested.TYPE: of_server,
        **dict.fromkeys(events.RESOURCE_CHANGES, of_object),
    }
    both = afterwards.around(table, concerned)
    return {**both, **dict.fromkeys(events.REFERENCE_CHANGES, changed)}


def _named(event: CloudEvent) -> str:
    """The name in an ApiServerSource's reference to a ModelServe. Raises Reject for anything else."""
    reference = afterwards.object_of(event)
    kind = (reference.get("apiVersion"), reference.get("kind"))
    if kind != (spec.API_VERSION, spec.KIND):
        raise Reject(f"serve follows references to ModelServes, not to {kind[1]} of {kind[0]}")
    name: Any = reference.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Reject("the resource's name is none that Kubernetes gives")
    return name
