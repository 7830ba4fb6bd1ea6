"""The collector and a pull that wants just these bytes: whoever is first, the model is whole."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from functions.download.blobs.collector import Collector
from functions.download.blobs.shelf import SQL


class SlowDelete:
    """The bucket, whose deletions take as long as a test says."""

    def __init__(self, objects: Any) -> None:
        self._objects = objects
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)

    async def delete(self, keys: Sequence[str]) -> None:
        """Say that it began, and wait."""
        self.began.set()
        await self.go_on.wait()
        await self._objects.delete(keys)


@pytest.fixture
async def unreferenced(make_world: Callable[..., Any], source: Any) -> Any:
    """A function whose only model was just deleted: its blob waits for the collector."""
    world = make_world(hf_endpoint=source.url)
    record = await world.pull("hf://acme/model")
    await world.deliver()
    await world.client.delete(f"/models/{record['uuid']}")
    source.asked.clear()
    world.broker.queue.clear()
    return world


async def is_whole(world: Any, record: Any, content: bytes) -> bool:
    """Whether the model is available and its object is what it was."""
    if (await world.model(record["uuid"]))["status"] != "available":
        return False
    stored: dict[str, bytes] = await world.stored(record["uuid"])
    return stored == {"model.safetensors": content}


async def test_a_pull_during_a_collection_fetches_anew(unreferenced: Any, source: Any) -> None:
    """The object is on its way out: the plan waits for the row, finds nothing stored, and the bytes are fetched."""
    bucket = SlowDelete(unreferenced.objects)
    collecting = asyncio.create_task(Collector(unreferenced.db, bucket, 0.0).collect())
    await bucket.began.wait()
    record = await unreferenced.pull("hf://acme/model")
    planning = asyncio.create_task(unreferenced.send(*unreferenced.broker.queue.popleft()))
    await asyncio.sleep(0.3)
    assert not planning.done()
    bucket.go_on.set()
    assert (await collecting).blobs == 1
    assert await planning == 204
    await unreferenced.deliver()
    assert await is_whole(unreferenced, record, source.content)
    assert source.asked != []


async def test_a_collection_passes_by_what_a_plan_has_chosen(unreferenced: Any, source: Any) -> None:
    """The plan has decided and is not committed yet: the collector does not wait for it, and takes nothing of it."""
    digest = hashlib.sha256(source.content).hexdigest()
    collector = Collector(unreferenced.db, unreferenced.objects, 0.0)
    await unreferenced.db.execute("UPDATE blobs SET unreferenced_since = now() - interval '1 hour'")
    async with unreferenced.db.transaction() as plan:
        assert len(await plan.fetch(SQL.stored_blobs, [digest])) == 1
        assert (await asyncio.wait_for(collector.collect(), 5)).blobs == 0
    record = await unreferenced.pull("hf://acme/model")
    await unreferenced.deliver()
    assert await is_whole(unreferenced, record, source.content)
    assert source.asked == []


async def test_references_that_were_made_before_the_lock_are_seen(unreferenced: Any, source: Any) -> None:
    """Marked long ago, wanted a moment ago: the mark alone takes nothing."""
    collector = Collector(unreferenced.db, unreferenced.objects, 0.0)
    await unreferenced.db.execute("UPDATE blobs SET unreferenced_since = now() - interval '1 hour'")
    record = await unreferenced.pull("hf://acme/model")
    await unreferenced.deliver()
    taken, _ = await collector._take(0.0)
    assert taken == []
    assert await is_whole(unreferenced, record, source.content)


async def test_pulls_and_collections_at_the_same_time_leave_whole_models(unreferenced: Any, source: Any) -> None:
    """Without a grace period, over and over: a model that became available has its bytes, until it is deleted."""
    collector = Collector(unreferenced.db, unreferenced.objects, 0.0)
    ended = asyncio.Event()

    async def collect() -> None:
        while not ended.is_set():
            await collector.collect()

    collecting = asyncio.create_task(collect())
    for number in range(6):
        record = await unreferenced.pull("hf://acme/model", name=f"m{number}")
        await unreferenced.deliver()
        assert await is_whole(unreferenced, record, source.content), number
        await unreferenced.client.delete(f"/models/{record['uuid']}")
    ended.set()
    await collecting


@pytest.mark.parametrize(("mark", "since"), [("mark_unreferenced", None), ("unmark_referenced", "1 hour")])
async def test_a_collector_and_a_plan_never_wait_for_each_other(
    unreferenced: Any, mark: str, since: str | None
) -> None:
    """Both lock digests in their order, wherever the rows lie: neither is ended as the victim of a deadlock."""
    first, last = "a" * 64, "f" * 64
    if since is not None:
        await unreferenced.pull("hf://acme/model")
    for digest in (last, first):
        await unreferenced.db.execute(
            "INSERT INTO blobs (digest, size_bytes, state, unreferenced_since) "
            "VALUES ($1, 1, 'stored', now() - $2::text::interval)",
            digest,
            since,
        )
        if since is not None:
            await unreferenced.db.execute(
                "INSERT INTO model_files (model_uuid, path, size_bytes, url, sha256) "
                "SELECT uuid, $1, 1, 'u', $1 FROM model_records WHERE status = 'downloading'",
                digest,
            )
    async with unreferenced.db.transaction() as plan:
        await plan.fetch(SQL.stored_blobs, [first])
        marking = asyncio.create_task(unreferenced.db.execute(getattr(SQL, mark)))
        await asyncio.sleep(0.3)
        assert not marking.done()
        await asyncio.wait_for(plan.fetch(SQL.stored_blobs, [last]), 5)
    assert (await asyncio.wait_for(marking, 5)).startswith("UPDATE")
