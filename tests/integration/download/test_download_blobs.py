"""Content is stored once: models share files, the same bytes are fetched once, and what is broken is fetched again."""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from functions.download.blobs import copying
from functions.download.blobs.collector import prefix_of
from functions.download.digest import Digest
from functions.download.problems import SourceChanged
from functions.kit.objects import S3Objects

MIB = 1024 * 1024
CONFIG = b'{"architectures": ["LlamaForCausalLM"]}'


def sha256(data: bytes) -> str:
    """In hex."""
    return hashlib.sha256(data).hexdigest()


def key(data: bytes) -> str:
    """Where this content lies."""
    return f"blobs/sha256/{sha256(data)[:2]}/{sha256(data)}"


async def blobs(world: Any) -> dict[str, str]:
    """The ledger: digest -> state."""
    return {row["digest"]: row["state"] for row in await world.db.fetch("SELECT digest, state FROM blobs")}


async def test_a_second_model_fetches_what_the_first_does_not_have(
    world: Any, publish_repository: Callable[[str, Mapping[str, bytes]], None], make_tensors: Callable[[int], bytes]
) -> None:
    """A revision that shares a shard: one transfer for the other one, and a manifest that points at the same object."""
    shared, first, second = make_tensors(6 * MIB), make_tensors(MIB), make_tensors(2 * MIB)
    publish_repository("acme/one", {"a.safetensors": shared, "b.safetensors": first, "config.json": CONFIG})
    publish_repository("acme/two", {"x.safetensors": shared, "y.safetensors": second, "config.json": CONFIG})
    one = await world.pull("hf://acme/one")
    await world.deliver()
    world.broker.published.clear()
    two = await world.pull("hf://acme/two")
    await world.deliver()
    # The configuration's digest is promised by nobody, and it is another repository's: its 39 bytes are fetched.
    assert world.broker.types().count("file.requested.v1") == 2
    assert (await world.model(two["uuid"]))["status"] == "available"
    assert await world.stored(two["uuid"]) == {
        "x.safetensors": shared, "y.safetensors": second, "config.json": CONFIG
    }  # fmt: skip
    manifests = [json.loads(await world.objects.get(f"manifests/{model['uuid']}.json")) for model in (one, two)]
    assert [file["key"] for document in manifests for file in document["files"] if file["size"] == 6 * MIB] == [
        key(shared)
    ] * 2
    found = {entry.key for entry in await world.objects.keys("blobs/")}
    assert found == {key(data) for data in (shared, first, second, CONFIG)}


async def test_an_unchanged_model_is_pulled_again_without_a_byte(
    world: Any, publish_repository: Callable[[str, Mapping[str, bytes]], None], make_tensors: Callable[[int], bytes]
) -> None:
    """Under another name: planned and published in one event, though nobody promises the digest of its texts."""
    publish_repository("acme/one", {"model.safetensors": make_tensors(6 * MIB), "config.json": CONFIG})
    await world.pull("hf://acme/one")
    await world.deliver()
    world.broker.published.clear()
    again = await world.pull("hf://acme/one", name="again")
    assert await world.send(*world.broker.queue.popleft()) == 204
    assert (await world.model(again["uuid"]))["status"] == "available"
    assert "file.requested.v1" not in world.broker.types()


async def test_a_web_file_of_the_same_version_is_not_fetched_again(make_world: Callable[..., Any], source: Any) -> None:
    """Its address and its strong ETag say that it is the one whose digest was taken then."""
    world = make_world(hf_endpoint=source.url)
    await world.pull(f"{source.url}/file/model.safetensors")
    await world.deliver()
    assert await world.uploads() == []
    assert await world.objects.keys("staging/") == []
    source.asked.clear()
    again = await world.pull(f"{source.url}/file/model.safetensors", name="again")
    await world.deliver()
    assert source.asked == ["bytes=0-0"]
    assert await world.stored(again["uuid"]) == {"model.safetensors": source.content}


async def test_deleting_a_model_leaves_what_others_have(
    world: Any, publish_repository: Callable[[str, Mapping[str, bytes]], None], make_tensors: Callable[[int], bytes]
) -> None:
    """Its references go at once; the collector takes what was its own, and nothing of the other model."""
    shared, own = make_tensors(6 * MIB), make_tensors(MIB)
    publish_repository("acme/one", {"a.safetensors": shared, "b.safetensors": own, "config.json": CONFIG})
    publish_repository("acme/two", {"a.safetensors": shared, "config.json": CONFIG})
    one, two = await world.pull("hf://acme/one"), await world.pull("hf://acme/two")
    await world.deliver()
    assert (await world.client.delete(f"/models/{one['uuid']}")).status_code == 204
    foreseen = (await world.client.post("/models/gc", json={"dry_run": True, "now": True})).json()
    assert foreseen == {"dry_run": True, "blobs": 1, "bytes": MIB, "digests": [sha256(own)]}
    kept = (await world.client.post("/models/gc", json={})).json()
    assert kept["blobs"] == 0, "the grace period has not passed"
    taken = (await world.client.post("/models/gc", json={"now": True})).json()
    assert taken == {**foreseen, "dry_run": False}
    assert await world.objects.get(key(own)) is None
    assert await world.stored(two["uuid"]) == {"a.safetensors": shared, "config.json": CONFIG}


async def test_the_tick_collects_when_the_grace_period_is_over(
    make_world: Callable[..., Any],
    hub: Any,
    publish_repository: Callable[[str, Mapping[str, bytes]], None],
    make_tensors: Callable[[int], bytes],
) -> None:
    """Not before; and an object that no row knows becomes one that is collected in its turn."""
    world = make_world(hf_endpoint=hub.url, blob_grace_s=1000.0)
    content = make_tensors(MIB)
    publish_repository("acme/one", {"model.safetensors": content, "config.json": CONFIG})
    record = await world.pull("hf://acme/one")
    await world.deliver()
    # The next minute's too, should the tick come then.
    for prefix in (prefix_of(int(time.time() // 60) + later) for later in (0, 1)):
        await world.objects.put(f"blobs/sha256/{prefix}{prefix[:2] * 32}", b"x")
    await world.client.delete(f"/models/{record['uuid']}")
    await world.tick()
    assert await world.objects.head(key(content)) is not None
    await world.db.execute("UPDATE blobs SET unreferenced_since = now() - interval '1001 s'")
    await world.tick()
    left = [entry.key for entry in await world.objects.keys("blobs/")]
    assert len(left) <= 1
    assert key(content) not in left
    assert sha256(content) not in await blobs(world)


async def test_the_same_bytes_are_fetched_once_by_one_of_two_instances(
    make_world: Callable[..., Any], source: Any
) -> None:
    """Two models, two instances, one digest: one transfers, the other waits for it and fetches nothing."""
    first = make_world(hf_endpoint=source.url)
    second = make_world(hf_endpoint=source.url)
    second.broker.queue = first.broker.queue
    began = asyncio.Event()
    go_on = asyncio.Event()

    async def hold(*_: Any) -> None:
        began.set()
        await go_on.wait()

    source.behave = hold
    one, two = await first.pull("hf://acme/model"), await second.pull("hf://acme/model", name="other")
    for _ in range(2):
        await first.send(*first.broker.queue.popleft())
    filling = asyncio.create_task(first.send(*first.broker.queue.popleft()))
    await began.wait()
    assert await second.send(*first.broker.queue.popleft()) == 204
    waiting = (await second.files(two["uuid"]))["model.safetensors"]
    assert (waiting["status"], waiting["lease_until"]) == ("pending", None)
    assert waiting["error"] == "model is fetching the same bytes: this file waits for them"
    source.behave = lambda *_: None
    go_on.set()
    assert await filling == 204
    await asyncio.gather(first.deliver(), second.deliver())
    for world, record in ((first, one), (second, two)):
        assert (await world.model(record["uuid"]))["status"] == "available"
        assert await world.stored(record["uuid"]) == {"model.safetensors": source.content}
    assert source.sent == len(source.content)


async def test_who_waits_takes_over_when_the_other_is_cancelled(make_world: Callable[..., Any], source: Any) -> None:
    """A wait ends with the transfer that it waits for, whatever becomes of that."""
    world = make_world(hf_endpoint=source.url)
    source.behave = lambda *_: pytest.fail("nobody is to fetch yet")
    one, two = await world.pull("hf://acme/model"), await world.pull("hf://acme/model", name="other")
    for _ in range(2):
        await world.send(*world.broker.queue.popleft())
    world.broker.queue.clear()
    await world.db.execute(
        "INSERT INTO blobs (digest, size_bytes, state, holder_uuid, holder_path, lease_until)"
        " SELECT sha256, size_bytes, 'filling', model_uuid, path, now() + interval '1 min'"
        " FROM model_files WHERE model_uuid = $1",
        one["uuid"],
    )
    source.behave = lambda *_: None
    assert (await world.client.post(f"/models/{one['uuid']}/cancel")).status_code == 200
    await world.deliver()
    assert (await world.model(two["uuid"]))["status"] == "available"


async def test_a_crash_between_the_object_and_its_row_costs_no_transfer(
    make_world: Callable[..., Any], source: Any
) -> None:
    """The object is complete, the ledger says that it is being filled: it is read, verified and recorded."""
    world = make_world(hf_endpoint=source.url)
    record = await world.pull("hf://acme/model")
    await world.send(*world.broker.queue.popleft())
    await world.objects.put(key(source.content), source.content)
    await world.db.execute("UPDATE model_files SET upload_id = 'gone', status = 'transferring'")
    await world.deliver()
    assert (await world.model(record["uuid"]))["status"] == "available"
    assert source.asked == []
    assert await blobs(world) == {sha256(source.content): "stored"}


async def test_unverified_content_never_has_the_name_of_other_content(
    make_world: Callable[..., Any], source: Any
) -> None:
    """A source that sends other bytes than it promised: nothing is visible under the promised digest, then or later."""
    world = make_world(hf_endpoint=source.url)
    source.sha256 = "ab" * 32
    record = await world.pull("hf://acme/model")
    await world.deliver()
    assert (await world.model(record["uuid"]))["error_code"] == "sha256-mismatch"
    assert await world.objects.keys("blobs/") == []
    assert await world.uploads() == []


@pytest.mark.parametrize("change", ["gone", "another"])
async def test_a_stored_object_that_was_tampered_with_is_fetched_again(
    make_world: Callable[..., Any], source: Any, change: str
) -> None:
    """A pull that would have reused it looks at it before its manifest names it, and mends it for everybody."""
    world = make_world(hf_endpoint=source.url)
    one = await world.pull("hf://acme/model")
    await world.deliver()
    if change == "gone":
        await world.objects.delete([key(source.content)])
    else:
        await world.objects.put(key(source.content), bytes(len(source.content)))
    two = await world.pull("hf://acme/model", name="other")
    await world.deliver()
    for record in (one, two):
        assert (await world.model(record["uuid"]))["status"] == "available"
        assert await world.stored(record["uuid"]) == {"model.safetensors": source.content}


async def test_what_lies_where_a_transfer_leads_is_not_taken_for_its_result(
    make_world: Callable[..., Any], source: Any
) -> None:
    """Half is hashed when somebody puts other bytes of the same size under the digest: the transfer replaces them."""
    world = make_world(hf_endpoint=source.url, slice_s=0.0, parts_in_flight=1)
    record = await world.pull("hf://acme/model")
    for _ in range(2):
        await world.send(*world.broker.queue.popleft())
    (file,) = (await world.files(record["uuid"])).values()
    assert 0 < Digest.seen(file["hash_state"]) < len(source.content)
    await world.objects.put(key(source.content), bytes(len(source.content)))
    await world.deliver()
    model = await world.model(record["uuid"])
    assert (model["status"], model["error"]) == ("available", None)
    assert await world.stored(record["uuid"]) == {"model.safetensors": source.content}
    assert await world.uploads() == []


async def test_what_was_downloaded_before_there_were_blobs_is_deleted(world: Any, source: Any) -> None:
    """Files under their model and path, as a release before left them, go with their model."""
    del source
    record = await world.pull("hf://acme/none")
    await world.objects.put(f"models/{record['uuid']}/model.safetensors", b"x")
    assert (await world.client.delete(f"/models/{record['uuid']}")).status_code == 204
    assert await world.objects.keys(f"models/{record['uuid']}/") == []


async def test_a_large_file_that_nobody_promised_leaves_nothing_in_staging(
    make_world: Callable[..., Any], source: Any
) -> None:
    """The server copies it from where it was verified to its blob."""
    world = make_world()
    record = await world.pull(f"{source.url}/file/model.safetensors")
    await world.deliver()
    assert await world.stored(record["uuid"]) == {"model.safetensors": source.content}
    assert await world.objects.keys("staging/") == []
    assert await world.uploads() == []


async def test_a_copy_goes_on_where_a_slice_left_it(objects: S3Objects, make_tensors: Callable[[int], bytes]) -> None:
    """Past one call's size the server copies parts, some in each slice, and none of them twice."""
    content = make_tensors(26 * MIB)
    await objects.put("staging/m/large", content)
    arguments = ("staging/m/large", key(content), len(content), 0.0)
    assert not await copying.copy(objects, *arguments, part_bytes=5 * MIB)
    ((place, upload),) = await objects.uploads(key(content))
    assert (place, len(await objects.parts(place, upload))) == (key(content), copying.AT_ONCE)
    assert await copying.copy(objects, *arguments, part_bytes=5 * MIB)
    assert await objects.get(key(content)) == content
    await objects.delete(["staging/m/large", key(content)])


async def test_a_copy_of_what_was_changed_is_refused(objects: S3Objects) -> None:
    """What lies there is not what was verified."""
    await objects.put("staging/m/small", b"12345")
    with pytest.raises(SourceChanged):
        await copying.copy(objects, "staging/m/small", key(b"123456"), 6, 0.0)
    await objects.delete(["staging/m/small"])
