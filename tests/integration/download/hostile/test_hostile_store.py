"""An S3 that is slow, full, forgetful of its keys, or says 200 and means no: the download waits, says why, and goes on."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.s3 import Call, Proxy, Reply


def some(name: str, reply: Reply, count: int) -> Callable[[Call], Reply | None]:
    """The first `count` calls of this name are answered so."""
    left = [count]

    def behave(call: Call) -> Reply | None:
        if call.name != name or not left[0]:
            return None
        left[0] -= 1
        return reply

    return behave


SLOW_DOWN = Reply(503, "SlowDown", headers={"Retry-After": "1"})
# As S3 answers when it finds out after its headers have left (CompleteMultipartUpload in the API reference).
SAYS_YES = Reply(200, "InternalError", "We encountered an internal error. Please try again.")
EXPIRED = Reply(403, "ExpiredToken", "The provided token has expired.")
REVOKED = Reply(403, "InvalidAccessKeyId", "The key does not exist.")
FULL = Reply(507, "XMinioStorageFull", "Storage backend has reached its minimum free drive threshold.")


@pytest.mark.parametrize(
    "name", ["CreateMultipartUpload", "UploadPart", "ListParts", "CompleteMultipartUpload", "PutObject"]
)
async def test_slow_down_is_obeyed(world_of: Any, store: Proxy, arrives: Any, name: str) -> None:
    """503 SlowDown, more than once, in every step of a transfer."""
    store.behave = some(name, SLOW_DOWN, 2)
    record = await world_of.pull("hf://acme/model")
    await world_of.deliver()
    # What is verified and could not be published is found by a tick.
    await world_of.db.execute("UPDATE model_records SET updated_at = now() - interval '5 min'")
    await world_of.tick()
    await world_of.deliver()
    await arrives(record["uuid"])


async def test_a_completion_that_says_200_and_means_no_is_repeated(world_of: Any, store: Proxy, arrives: Any) -> None:
    """The answer's body holds the error: the file is not there, and is not taken for it."""
    store.behave = some("CompleteMultipartUpload", SAYS_YES, 2)
    record = await world_of.pull("hf://acme/model")
    await world_of.deliver()
    await arrives(record["uuid"])


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        ("UploadPart", EXPIRED),
        ("UploadPart", REVOKED),
        ("UploadPart", FULL),
        ("CompleteMultipartUpload", SAYS_YES),
    ],
)
async def test_what_lasts_is_named_while_it_is_waited_for(
    world_of: Any, store: Proxy, arrives: Any, name: str, reply: Reply
) -> None:
    """Keys that expire in mid-flight, a bucket that is full: the file says so; once it is mended, the download goes on."""
    store.behave = lambda call: reply if call.name == name else None
    record = await world_of.pull("hf://acme/model")
    await world_of.deliver(tries=3)
    (file,) = (await world_of.files(record["uuid"])).values()
    assert reply.code in file["error"]
    assert (await world_of.model(record["uuid"]))["status"] == "downloading"
    assert await world_of.objects.get(f"manifests/{record['uuid']}.json") is None
    store.behave = lambda _: None
    await world_of.deliver()
    await arrives(record["uuid"])


async def test_what_lasts_too_long_fails_and_can_be_retried(world_of: Any, store: Proxy, arrives: Any) -> None:
    """After so many tries the model has failed with the cause; when it is mended, a retry takes it from there."""
    store.behave = lambda call: FULL if call.name == "UploadPart" else None
    record = await world_of.pull("hf://acme/model")
    await world_of.deliver()
    model = await world_of.model(record["uuid"])
    assert (model["status"], "XMinioStorageFull" in model["error"]) == ("failed", True)
    store.behave = lambda _: None
    assert (await world_of.client.post(f"/models/{record['uuid']}/retry")).status_code == 202
    await world_of.deliver()
    await arrives(record["uuid"])


async def test_a_part_that_changes_on_its_way_into_s3_is_not_kept(world_of: Any, store: Proxy, arrives: Any) -> None:
    """One bit, once: S3 compares it with what was signed, and the part is sent again."""
    spoilt: list[Call] = []

    def spoil(call: Call, body: bytes) -> bytes:
        if call.name != "UploadPart" or spoilt:
            return body
        spoilt.append(call)
        return bytes([body[0] ^ 1]) + body[1:]

    store.spoil = spoil
    record = await world_of.pull("hf://acme/model")
    await world_of.deliver()
    assert len(spoilt) == 1
    await arrives(record["uuid"])
