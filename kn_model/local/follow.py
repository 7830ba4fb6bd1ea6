"""Runs a reconciler whenever objects of some kinds change. Called by the broker and the sources."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from kn_model.local.api_errors import Gone
from kn_model.local.kinds import Kind
from kn_model.local.store import ObjectStore


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
            await react()


async def _watch(store: ObjectStore, kind: Kind, changed: asyncio.Event) -> None:
    while True:
        try:
            async for _ in store.watch(kind):
                changed.set()
        except Gone:  # we fell too far behind to be told each change: begin again with what there is
            continue
