"""Streams changes to a client that watches: one JSON document a line. Called by `api/app.py`."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from kn_model.local.api.errors import ApiError, BadRequest
from kn_model.local.api.paths import Address
from kn_model.local.objects.history import WatchEvent
from kn_model.local.objects.selectors import require_selectable
from kn_model.local.objects.store import ObjectStore

LONGEST_S: Final = 3600.0
"""A watch without `timeoutSeconds` ends after an hour, as an API server ends it after 30 to 60 minutes."""
_INITIAL_END: Final = "k8s.io/initial-events-end"

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Watch:
    """What a client asked to watch, read from the query."""

    address: Address
    since: int | None
    labels: str
    fields: str
    timeout_s: float
    bookmark_after_list: bool
    """`sendInitialEvents`: tell all there is, then say with a bookmark that this was all."""


def asked_for(address: Address, query: Mapping[str, str]) -> Watch:
    """Read the parameters of a watch. Raises BadRequest, BadSelector."""
    initial = query.get("sendInitialEvents") == "true"
    version = query.get("resourceVersion", "")
    try:
        since = int(version) if version not in ("", "0") and not initial else None
        timeout_s = float(query.get("timeoutSeconds") or LONGEST_S)
    except ValueError as error:
        raise BadRequest(f"invalid watch parameter: {error}") from error
    fields = query.get("fieldSelector", "")
    require_selectable(address.kind, fields)
    if address.name:
        fields = ",".join(part for part in (fields, f"metadata.name={address.name}") if part)
    return Watch(address, since, query.get("labelSelector", ""), fields, min(timeout_s, LONGEST_S), initial)


async def stream(
    request: web.Request, watch: Watch, store: ObjectStore, render: Callable[[WatchEvent], Json]
) -> web.StreamResponse:
    """Send changes until the time is up or the client is gone. `render` makes an event's `object`."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    try:
        async with asyncio.timeout(watch.timeout_s):
            async for line in _lines(watch, store, render):
                await response.write(line)
    except TimeoutError:
        pass  # the client asked for no more
    except ApiError as error:
        await response.write(_line("ERROR", error.status()))
    await response.write_eof()
    return response


async def _lines(watch: Watch, store: ObjectStore, render: Callable[[WatchEvent], Json]) -> AsyncIterator[bytes]:
    kind, position = watch.address.kind, watch.since
    if position is None:
        position = store.revision
        for obj in store.list(kind, watch.address.namespace, labels=watch.labels, fields=watch.fields):
            yield _line("ADDED", render(WatchEvent("ADDED", obj, kind, position)))
    if watch.bookmark_after_list:
        metadata = {"resourceVersion": str(position), "annotations": {_INITIAL_END: "true"}}
        yield _line("BOOKMARK", {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata})
    changes = store.watch(kind, watch.address.namespace, since=position, labels=watch.labels, fields=watch.fields)
    async for event in changes:
        yield _line(event.type, render(event))


def _line(type_: str, obj: Json) -> bytes:
    return json.dumps({"type": type_, "object": obj}).encode() + b"\n"
