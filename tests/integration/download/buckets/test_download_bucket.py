"""A prefix of another bucket, from the request to the available model: copied by the server, or read from another S3."""

from typing import Any

import pytest

from functions.kit.objects import ObjectChanged, S3Objects
from functions.kit.settings import Secret

MIB = 1024 * 1024


class Counting(S3Objects):
    """Objects that count copies."""

    copies = 0

    async def copy_part(self, *args: Any) -> None:
        """Count."""
        self.copies += 1
        await super().copy_part(*args)


@pytest.fixture
def objects(s3_endpoint: dict[str, str]) -> Counting:
    """The models' objects, counting."""
    keys = (Secret(s3_endpoint["access_key"]), Secret(s3_endpoint["secret_key"]))
    return Counting(s3_endpoint["endpoint"], s3_endpoint["region"], *keys, s3_endpoint["bucket"])


async def test_the_server_copies_what_it_holds(make_world: Any, source_bucket: S3Objects, objects: Counting) -> None:
    """The large file's parts never come here before they are checked; what is stored is the source's, and hashed."""
    world = make_world(allowed_source_buckets=(source_bucket.bucket,))
    record = await world.pull("s3://source-bucket/tiny")
    await world.deliver()
    model = await world.model(record["uuid"])
    assert (model["status"], model["error"], model["model_name"]) == ("available", None, "tiny")
    stored = await world.stored(record["uuid"])
    assert stored == {name: await source_bucket.get(f"tiny/{name}") for name in ("config.json", "model.safetensors")}
    assert objects.copies == 3


async def test_another_s3_is_read(
    make_world: Any, source_bucket: S3Objects, objects: Counting, s3_endpoint: dict[str, str]
) -> None:
    """With keys of its own; here the same server under another name."""
    world = make_world(
        allowed_source_buckets=(source_bucket.bucket,),
        s3_source_endpoint=s3_endpoint["endpoint"].replace("127.0.0.1", "localhost"),
        s3_source_access_key=Secret(s3_endpoint["access_key"]),
        s3_source_secret_key=Secret(s3_endpoint["secret_key"]),
    )
    record = await world.pull("s3://source-bucket/one.safetensors")
    await world.deliver()
    model = await world.model(record["uuid"])
    assert (model["status"], model["error"], model["model_name"]) == ("available", None, "one")
    assert await world.stored(record["uuid"]) == {"one.safetensors": await source_bucket.get("one.safetensors")}
    assert objects.copies == 0


async def test_an_object_that_changes_is_not_mixed(
    make_world: Any, source_bucket: S3Objects, objects: Counting
) -> None:
    """Read or copied, each part is of the planned version; the failure says what happened."""
    info = await source_bucket.head("tiny/model.safetensors")
    assert info is not None
    with pytest.raises(ObjectChanged):
        await source_bucket.get(info.key, 0, 10, etag='"other"')
    world = make_world(allowed_source_buckets=(source_bucket.bucket,))
    original = objects.copy_part

    async def changing(*args: Any) -> None:
        if objects.copies == 1:
            await source_bucket.put(info.key, b"\0" * info.size)
        await original(*args)

    objects.copy_part = changing  # type: ignore[method-assign]  # the moment that matters
    record = await world.pull("s3://source-bucket/tiny")
    await world.deliver()
    model = await world.model(record["uuid"])
    assert (model["status"], model["error_code"]) == ("failed", "source-changed")
    assert "model.safetensors" not in await world.stored(record["uuid"])
    assert await world.uploads() == []


async def test_a_prefix_without_objects_is_named(make_world: Any, source_bucket: S3Objects) -> None:
    """A prefix is a folder: `tin` is none, though keys begin with it."""
    world = make_world(allowed_source_buckets=(source_bucket.bucket,))
    record = await world.pull("s3://source-bucket/tin")
    await world.deliver()
    model = await world.model(record["uuid"])
    assert (model["error_code"], model["error"]) == ("file-not-found", "the bucket source-bucket has nothing under tin")


async def test_a_bucket_that_is_not_allowed_is_not_asked(make_world: Any, source_bucket: S3Objects) -> None:
    """The reason names the setting; the models' own bucket is no exception."""
    world = make_world()
    for name in (source_bucket.bucket, world.settings.s3_bucket):
        record = await world.pull(f"s3://{name}/models")
        await world.deliver()
        model = await world.model(record["uuid"])
        assert (model["status"], model["error_code"]) == ("failed", "source-forbidden")
        assert "TORPOR_ALLOWED_SOURCE_BUCKETS" in model["error"]
