"""What passes: cuts, pauses, changed files, doubled events, two workers. The bytes are right or nothing is published."""

import asyncio
import hashlib
import time
from typing import Any

import pytest
from aiohttp import web

from tests.deliveries import signed

MIB = 1024 * 1024
PART = 5 * MIB


@pytest.fixture
def world_of(make_world: Any, source: Any) -> Any:
    """The function, fetching from the misbehaving hub."""
    return make_world(hf_endpoint=source.url)


async def is_available(world: Any, uuid: str, source: Any) -> None:
    """Assert that the model is available with the source's bytes and that no upload is left."""
    model = await world.model(uuid)
    assert (model["status"], model["error"]) == ("available", None)
    assert await world.stored(uuid) == {"model.safetensors": source.content}
    assert await world.uploads() == []


async def test_a_cut_connection_goes_on_where_it_broke(world_of: Any, source: Any) -> None:
    """Every range is cut once; nothing that arrived is asked for a second time."""
    cut: set[int] = set()

    def cut_once(origin: Any, request: web.Request) -> Any:
        start = request.http_range.start or 0
        if start % PART == 0 and start not in cut:
            cut.add(start)
            return origin.honest(request, cut_after=300_000)
        return None

    source.behave = cut_once
    record = await world_of.pull("hf://acme/model")
    await world_of.deliver()
    await is_available(world_of, record["uuid"], source)
    assert source.sent == len(source.content)


async def test_a_slice_ends_at_its_deadline_and_the_next_goes_on(make_world: Any, source: Any) -> None:
    """With no time left after each part, slices follow each other and no part is fetched twice."""
    world = make_world(hf_endpoint=source.url, slice_s=0.0)
    record = await world.pull("hf://acme/model")
    await world.deliver()
    await is_available(world, record["uuid"], source)
    assert source.asked == ["bytes=0-5242879", "bytes=5242880-10485759", "bytes=10485760-12582911"]
    assert world.broker.types().count("file.requested.v1") == 3


async def test_a_changed_file_starts_anew_and_is_never_mixed(world_of: Any, source: Any) -> None:
    """The ETag changes after the first answer: the file begins again, and only the second version's bytes are kept."""
    old = bytes(len(source.content))

    def change_after_one(origin: Any, request: web.Request) -> Any:
        start, stop = request.http_range.start or 0, request.http_range.stop or 0
        if len(origin.asked) > 1:
            return None
        headers = {"ETag": '"old"', "Content-Range": f"bytes {start}-{stop - 1}/{len(old)}"}
        return web.Response(status=206, body=old[start:stop], headers=headers)

    source.behave = change_after_one
    record = await world_of.pull("hf://acme/model")
    await world_of.deliver()
    await is_available(world_of, record["uuid"], source)
    assert (await world_of.files(record["uuid"]))["model.safetensors"]["restarts"] == 1


async def test_a_source_that_always_lies_fails_the_model(world_of: Any, source: Any) -> None:
    """Wrong Content-Range again and again: the file restarts a few times, then its model has failed."""

    def shifted(origin: Any, request: web.Request) -> Any:
        start, stop = request.http_range.start or 0, request.http_range.stop or 0
        headers = {"ETag": origin.etag, "Content-Range": f"bytes {start + 1}-{stop}/{len(origin.content)}"}
        return web.Response(status=206, body=origin.content[start:stop], headers=headers)

    source.behave = shifted
    record = await world_of.pull("hf://acme/model")
    await world_of.deliver()
    model = await world_of.model(record["uuid"])
    assert (model["status"], model["error_code"]) == ("failed", "source-changed")
    assert await world_of.uploads() == []


async def test_a_busy_source_is_waited_for(world_of: Any, source: Any) -> None:
    """429 and 503 delay; Retry-After is kept to, by all ranges of that host."""
    statuses = iter([429, 503])
    told: list[float] = []
    early: list[float] = []

    def busy(_: Any, __: web.Request) -> web.Response | None:
        now = time.monotonic()
        # What was on its way already when the host asked for patience is no matter.
        early.extend(now - at for at in told if 0.1 < now - at < 1.0)
        if (status := next(statuses, None)) is None:
            return None
        told.append(now)
        return web.Response(status=status, headers={"Retry-After": "1"})

    source.behave = busy
    record = await world_of.pull("hf://acme/model")
    await world_of.deliver()
    await is_available(world_of, record["uuid"], source)
    assert (len(told), early) == (2, [])


async def test_a_silent_source_is_asked_again(world_of: Any, source: Any) -> None:
    """A connection that stalls is given up after the stall time and the range is asked for anew."""
    first = iter([True])

    async def silent_once(_: Any, __: web.Request) -> None:
        if next(first, False):
            await asyncio.sleep(60)

    source.behave = silent_once
    record = await world_of.pull("hf://acme/model")
    await world_of.deliver()
    await is_available(world_of, record["uuid"], source)


async def test_a_hub_that_is_down_is_named_and_the_pull_goes_on_when_it_is_back(
    make_world: Any, source: Any, unused_tcp_port: int
) -> None:
    """While the hub does not answer the model says so and the Broker is asked to come again."""
    down = make_world(hf_endpoint=f"http://127.0.0.1:{unused_tcp_port}")
    record = await down.pull("hf://acme/model")
    await down.deliver(tries=3)
    model = await down.model(record["uuid"])
    assert model["status"] == "downloading"
    assert "127.0.0.1 does not answer" in model["error"]
    back = make_world(hf_endpoint=source.url)
    back.broker.queue.extend(down.broker.queue)
    await back.deliver()
    await is_available(back, record["uuid"], source)


async def test_a_doubled_event_does_nothing_more(world_of: Any, source: Any) -> None:
    """Every event delivered twice in a row: one transfer, one `available`."""
    record = await world_of.pull("hf://acme/model")
    while world_of.broker.queue:
        headers, data = world_of.broker.queue.popleft()
        if "available" in headers["ce-type"]:
            continue
        assert await world_of.send(headers, data) == 204
        assert await world_of.send(headers, data) == 204
    await is_available(world_of, record["uuid"], source)
    assert source.sent == len(source.content)
    assert world_of.broker.types().count("model.available.v1") == 1


async def test_two_workers_never_share_a_file(world_of: Any, make_world: Any, source: Any) -> None:
    """A second event for a file that is being transferred is told to come later (409)."""
    asked, gate = asyncio.Event(), asyncio.Event()

    async def hold(_: Any, __: web.Request) -> None:
        asked.set()
        await gate.wait()

    source.behave = hold
    other = make_world(hf_endpoint=source.url)
    record = await world_of.pull("hf://acme/model")
    await world_of.send(*world_of.broker.queue.popleft())
    headers, data = world_of.broker.queue.popleft()
    first = asyncio.create_task(world_of.send(headers, data))
    await asked.wait()
    assert await other.send(signed({**headers, "ce-id": "another"}, data), data) == 409
    gate.set()
    assert await first == 204
    await is_available(world_of, record["uuid"], source)
    assert source.sent == len(source.content)


async def test_cancel_stops_the_transfer_and_leaves_no_upload(world_of: Any, source: Any) -> None:
    """The worker notices, the upload is aborted, the record says who cancelled; a retry completes it."""
    asked = asyncio.Event()

    async def hold_the_third(_: Any, request: web.Request) -> None:
        if (request.http_range.start or 0) >= 2 * PART:
            asked.set()
            await asyncio.sleep(60)

    source.behave = hold_the_third
    record = await world_of.pull("hf://acme/model")
    delivering = asyncio.create_task(world_of.deliver())
    await asked.wait()
    response = await world_of.client.post(f"/models/{record['uuid']}/cancel")
    await delivering
    assert (response.status_code, response.json()["error"]) == (200, "cancelled by olga")
    assert await world_of.uploads() == []
    source.behave = lambda *_: None
    assert (await world_of.client.post("/models/model/retry")).status_code == 202
    await world_of.deliver()
    await is_available(world_of, record["uuid"], source)


async def test_delete_takes_everything_away(world_of: Any) -> None:
    """Objects, manifest and file rows go; the same request makes a new record."""
    record = await world_of.pull("hf://acme/model")
    await world_of.deliver()
    assert (await world_of.client.delete("/models/model")).status_code == 204
    assert await world_of.stored(record["uuid"]) == {}
    assert await world_of.objects.get(f"manifests/{record['uuid']}.json") is None
    assert (await world_of.client.delete(f"/models/{record['uuid']}")).status_code == 404
    assert (await world_of.pull("hf://acme/model"))["uuid"] != record["uuid"]


async def test_a_served_model_is_not_deleted(world_of: Any) -> None:
    """409 names the server that uses it."""
    record = await world_of.pull("hf://acme/model")
    await world_of.deliver()
    await world_of.db.execute(
        "INSERT INTO server_records (uuid, model_uuid, model_name, service_name) VALUES ('s', $1, 'model', 'my-server')",
        record["uuid"],
    )
    response = await world_of.client.delete("/models/model")
    assert response.status_code == 409
    assert "my-server" in response.json()["detail"]


async def test_lost_events_are_repaired_by_the_tick(world_of: Any, source: Any) -> None:
    """Every event is lost once: the tick finds the request, then the file, and the model arrives."""
    record = await world_of.pull("hf://acme/model")
    for _ in range(2):
        world_of.broker.queue.clear()
        await world_of.db.execute("UPDATE model_records SET updated_at = now() - interval '5 min'")
        await world_of.db.execute("UPDATE model_files SET updated_at = now() - interval '5 min'")
        await world_of.tick()
        await world_of.send(*world_of.broker.queue.popleft())
    await world_of.deliver()
    await is_available(world_of, record["uuid"], source)


async def test_an_orphaned_upload_is_aborted_by_the_tick(world_of: Any) -> None:
    """An upload that no row knows, as a kill can leave it, does not stay."""
    record = await world_of.pull("hf://acme/model")
    for place in (
        "blobs/sha256/ab/" + "ab" * 32,
        f"staging/{record['uuid']}/x.gguf",
        f"models/{record['uuid']}/x.gguf",
    ):
        await world_of.objects.start_upload(place)
    await world_of.tick()
    assert await world_of.uploads() == []


async def test_a_web_file_is_a_model(world_of: Any, source: Any) -> None:
    """An allowed host's single file is fetched, hashed and published under its name."""
    record = await world_of.pull(f"{source.url}/file/small.safetensors")
    await world_of.deliver()
    model = await world_of.model(record["uuid"])
    stored = await world_of.files(record["uuid"])
    assert (model["status"], model["model_name"], model["revision"]) == ("available", "small", '"one"')
    assert stored["small.safetensors"]["sha256"] == hashlib.sha256(source.content).hexdigest()


async def test_a_worker_that_lost_its_file_steps_back(world_of: Any, source: Any) -> None:
    """Taken over while it waits for the source: it answers 204, touches no row and leaves the new upload alone."""
    asked, taken = asyncio.Event(), asyncio.Event()

    async def refuse_after_a_while(_: Any, __: web.Request) -> web.Response:
        asked.set()
        await taken.wait()
        return web.Response(status=503, headers={"Retry-After": "3600"})

    source.behave = refuse_after_a_while
    record = await world_of.pull("hf://acme/model")
    await world_of.send(*world_of.broker.queue.popleft())
    running = asyncio.create_task(world_of.send(*world_of.broker.queue.popleft()))
    await asked.wait()
    await world_of.db.execute("UPDATE model_files SET lease_until = now() + interval '1 h', upload_id = 'of another'")
    taken.set()
    assert await running == 204
    file = (await world_of.files(record["uuid"]))["model.safetensors"]
    assert (file["upload_id"], file["error"], file["attempts"]) == ("of another", None, 0)
