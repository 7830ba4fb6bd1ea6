"""Several instances at one large file: each part comes once, the digest goes from hand to hand, and nobody is needed but one."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from aiohttp import web

from functions.download.files import FileRows
from functions.download.layout import STRETCH_PARTS
from functions.download.sources import HubSource
from functions.download.stretches import SHARED_FROM
from functions.kit.objects import Part

MIB = 1024 * 1024
# The smallest that S3 takes.
PART = 5 * MIB
PARTS = SHARED_FROM * STRETCH_PARTS


@pytest.fixture
def large(source: Any, make_tensors: Any) -> Any:
    """The misbehaving hub, with a file that is just large enough to be shared."""
    source.content = make_tensors(PARTS * PART)
    return source


def is_helper(data: bytes) -> bool:
    """Whether an event asks for help."""
    return b'"helper":0' not in data


async def planned(world: Any) -> tuple[str, tuple[dict[str, str], bytes]]:
    """A pull whose file is asked for: the model's uuid, and that event."""
    record = await world.pull("hf://acme/model")
    await world.send(*world.broker.queue.popleft())
    return record["uuid"], world.broker.queue.popleft()


async def helping(world: Any, others: list[Any]) -> None:
    """Give the invitations of `world` to the others, as a Broker would."""
    async with asyncio.timeout(60):
        while len(world.broker.queue) < len(others):  # noqa: ASYNC110  # the broker of these tests tells nobody
            await asyncio.sleep(0.01)
    events = [world.broker.queue.popleft() for _ in others]
    assert all(is_helper(data) for _, data in events)
    sent = await asyncio.gather(*(other.send(*event) for other, event in zip(others, events, strict=True)))
    assert set(sent) == {204}


async def is_right(world: Any, uuid: str, source: Any) -> None:
    """The model is available with the source's bytes, and no upload is left."""
    model = await world.model(uuid)
    assert (model["status"], model["error"]) == ("available", None)
    assert await world.stored(uuid) == {"model.safetensors": source.content}
    assert await world.uploads() == []
    assert await world.db.fetchval("SELECT count(*) FROM stretch_leases") == 0


class Counting:
    """The real bucket, and how many parts an instance put there."""

    def __init__(self, world: Any) -> None:
        self._objects = world.objects
        self.put = 0
        world.workshop.slices.suppliers.transfers[HubSource]._objects = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)

    async def put_part(self, *arguments: Any) -> Part:
        """Count, and put it."""
        self.put += 1
        part: Part = await self._objects.put_part(*arguments)
        return part


async def test_two_instances_fetch_each_part_once(make_world: Any, large: Any) -> None:
    """Both get parts, no part is fetched twice, and the whole has the promised digest."""
    leader = make_world(hf_endpoint=large.url, slice_s=60.0, part_bytes=PART, workers_per_file=2)
    helper = make_world(hf_endpoint=large.url, slice_s=60.0, part_bytes=PART, workers_per_file=2)
    led, helped = Counting(leader), Counting(helper)
    uuid, event = await planned(leader)
    leading = asyncio.create_task(leader.send(*event))
    await helping(leader, [helper])
    assert await leading == 204
    await is_right(leader, uuid, large)
    assert len(large.asked) == len(set(large.asked)) == PARTS
    assert led.put + helped.put == PARTS
    assert min(led.put, helped.put) >= STRETCH_PARTS


async def test_what_a_dead_worker_had_is_taken_over(make_world: Any, large: Any) -> None:
    """Its lease runs out while the digest waits for its parts: the one that leads fetches them, and all is right."""
    leader = make_world(hf_endpoint=large.url, slice_s=60.0, part_bytes=PART, workers_per_file=2)

    async def die_with_the_third(origin: Any, _: web.Request) -> None:
        if len(origin.asked) == 1:
            await leader.db.execute(
                "INSERT INTO stretch_leases SELECT model_uuid, path, upload_id, 2, 'the dead', now() + interval '2 s' "
                "FROM model_files"
            )

    large.behave = die_with_the_third
    uuid, event = await planned(leader)
    assert await leader.send(*event) == 204
    await leader.db.execute("DELETE FROM stretch_leases WHERE holder = 'the dead'")
    await is_right(leader, uuid, large)
    # Whoever waited for them had to let go of what it held.
    again = Counter(large.asked)
    assert sum(again.values()) - PARTS <= 2 * STRETCH_PARTS


async def test_workers_that_choose_at_once_all_get_a_stretch(make_world: Any, large: Any) -> None:
    """Whoever was slower chooses again: nobody goes home while there is work."""
    world = make_world(hf_endpoint=large.url, part_bytes=PART)
    uuid, _ = await planned(world)
    rows = FileRows(world.db)
    file = await rows.claim(uuid, "model.safetensors")
    assert file is not None
    file.upload_id = "upload"
    between = (0, SHARED_FROM - 1)
    numbers = await asyncio.gather(*(rows.lease_stretch(file, between, str(who)) for who in range(SHARED_FROM)))
    assert set(numbers) == set(range(SHARED_FROM))
    assert await rows.lease_stretch(file, between, "one more") is None
