"""Runs a reconciler whenever objects of some kinds change. Called by the broker and the sources."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from kn_model.local.api.errors import ApiError, Gone
from kn_model.local.objects.kinds import Kind
from kn_model.local.objects.store import ObjectStore

AGAIN_S: Final = 1.0
AFTER_BUG_S: Final = 30.0

_LOG = logging.getLogger(__name__)


async def on_change(store: ObjectStore, kinds: Sequence[Kind], react: Callable[[], Awaitable[None]]) -> None:
    """React once at the start and once after every burst of changes, until cancelled."""
    changed = asyncio.Event()
    changed.set()
    async with asyncio.TaskGroup() as tasks:
        for kind in kinds:
            tasks.create_task(_watch(store, kind, changed))
        while True:
            await changed.wait()
            changed.clear()
            try:
                await react()
            except ApiError as error:  # somebody was faster, or PostgreSQL is away: look again
                _LOG.warning("%s; looking again in %.0f s", error, AGAIN_S)
                asyncio.get_running_loop().call_later(AGAIN_S, changed.set)
            except Exception:  # noqa: BLE001 - one object that we cannot work from must not stop what works
                _LOG.exception("a bug; looking again in %.0f s", AFTER_BUG_S)
                asyncio.get_running_loop().call_later(AFTER_BUG_S, changed.set)


async def _watch(store: ObjectStore, kind: Kind, changed: asyncio.Event) -> None:
    while True:
        try:
            async for _ in store.watch(kind):
                changed.set()
        except Gone:  # we fell too far behind to be told each change: begin again with what there is
            continue
