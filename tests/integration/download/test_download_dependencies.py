"""S3 or PostgreSQL in trouble: the event comes back later, the row says why, and nothing is lost or left behind."""

import asyncio
import hashlib
import socket
from typing import Any

import pytest
from aiohttp import web

from functions.download.digest import crc32
from functions.download.layout import blob_key
from functions.download.sources import HubSource
from functions.kit.objects import Part, S3Objects
from functions.kit.problem import Retry
from functions.kit.settings import Secret

MIB = 1024 * 1024
PART = 5 * MIB


@pytest.fixture
def world_of(make_world: Any, source: Any) -> Any:
    """The function, fetching from the hub of the tests."""
    return make_world(hf_endpoint=source.url)


class FullBucket:
    """The real bucket, which has no room for some parts."""

    def __init__(self, objects: S3Objects, refusals: int) -> None:
        self._objects = objects
        self.refusals = refusals

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)

    async def put_part(self, key: str, upload_id: str, number: int, data: bytes, crc32: int) -> Part:
        """No room for the second part, until there is."""
        if number > 1 and self.refusals > 0:
            self.refusals -= 1
            raise Retry(5, "S3 answered InsufficientStorage: no space left")
        return await self._objects.put_part(key, upload_id, number, data, crc32)


def use_objects(world: Any, objects: Any) -> None:
    """Let transfers write to `objects`."""
    world.workshop.slices.suppliers.transfers[HubSource]._objects = objects


async def test_a_full_bucket_is_named_and_passes_when_there_is_room(world_of: Any, source: Any) -> None:
    """While S3 has no room the file says so; then it goes on and fetches no stored part again."""
    bucket = FullBucket(world_of.objects, refusals=100)
    use_objects(world_of, bucket)
    record = await world_of.pull("hf://acme/model")
    await world_of.deliver(tries=1)
    file = (await world_of.files(record["uuid"]))["model.safetensors"]
    assert (file["status"], file["error"]) == ("transferring", "S3 answered InsufficientStorage: no space left")
    assert file["attempts"] > 0
    bucket.refusals = 0
    source.asked.clear()
    await world_of.deliver()
    assert (await world_of.model(record["uuid"]))["status"] == "available"
    assert "bytes=0-5242879" not in source.asked
    assert await world_of.stored(record["uuid"]) == {"model.safetensors": source.content}


async def test_a_bucket_that_stays_full_fails_the_model(world_of: Any) -> None:
    """After ten tries in a row the model has failed with S3's words, and its upload is gone."""
    use_objects(world_of, FullBucket(world_of.objects, refusals=1000))
    record = await world_of.pull("hf://acme/model")
    await world_of.deliver()
    model = await world_of.model(record["uuid"])
    assert (model["status"], model["error_code"]) == ("failed", "unreachable")
    assert "no space left" in model["error"]
    assert await world_of.uploads() == []


async def test_an_s3_that_is_down_delays_and_loses_nothing(world_of: Any, source: Any) -> None:
    """The event is answered 503, and the pull completes when S3 is back."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        down = S3Objects(f"http://127.0.0.1:{closed.getsockname()[1]}", "us-east-1", Secret("a"), Secret("b"), "torpor")
        use_objects(world_of, down)
        record = await world_of.pull("hf://acme/model")
        await world_of.deliver(tries=1)
    assert "S3 does not answer" in (await world_of.files(record["uuid"]))["model.safetensors"]["error"]
    use_objects(world_of, world_of.objects)
    await world_of.deliver()
    assert (await world_of.model(record["uuid"]))["status"] == "available"
    assert await world_of.stored(record["uuid"]) == {"model.safetensors": source.content}


async def test_a_database_that_stops_in_mid_flight_costs_no_stored_part(
    world_of: Any, source: Any, postgres_server: Any
) -> None:
    """PostgreSQL goes away while a part is on its way: 503, and when it is back only what is missing is fetched."""
    asked = asyncio.Event()

    async def hold_the_third(_: Any, request: web.Request) -> None:
        if (request.http_range.start or 0) >= 2 * PART:
            asked.set()
            await asyncio.sleep(30)

    source.behave = hold_the_third
    record = await world_of.pull("hf://acme/model")
    await world_of.send(*world_of.broker.queue.popleft())
    event = world_of.broker.queue.popleft()
    running = asyncio.create_task(world_of.send(*event))
    await asked.wait()
    await asyncio.sleep(1)
    await postgres_server.stop()
    assert await running == 503
    await postgres_server.start()
    await world_of.db.execute("UPDATE model_files SET lease_until = now()")
    source.behave = lambda *_: None
    source.asked.clear()
    assert await world_of.send(*event) == 204
    assert source.asked == ["bytes=10485760-12582911"]
    assert (await world_of.model(record["uuid"]))["status"] == "available"
    assert await world_of.stored(record["uuid"]) == {"model.safetensors": source.content}


async def test_parts_that_no_digest_has_seen_are_not_believed(world_of: Any, source: Any) -> None:
    """As after a kill between storing a part and its digest: it is fetched again, since nobody can say what it holds."""
    record = await world_of.pull("hf://acme/model")
    await world_of.send(*world_of.broker.queue.popleft())
    key = blob_key(hashlib.sha256(source.content).hexdigest())
    upload = await world_of.objects.start_upload(key)
    await world_of.objects.put_part(key, upload, 1, bytes(PART), crc32(bytes(PART)))
    await world_of.db.execute("UPDATE model_files SET upload_id = $1, status = 'transferring'", upload)
    await world_of.deliver()
    assert (await world_of.model(record["uuid"]))["status"] == "available"
    assert await world_of.stored(record["uuid"]) == {"model.safetensors": source.content}
    assert source.sent == len(source.content)
