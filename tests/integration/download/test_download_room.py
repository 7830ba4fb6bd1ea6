"""Whether there is room for a model is known before its first byte: quota, free space, and what nobody refers to any more."""

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

MIB = 1024 * 1024
CONFIG = b'{"architectures": ["LlamaForCausalLM"]}'


async def test_a_quota_is_checked_before_the_first_byte(make_world: Callable[..., Any], source: Any) -> None:
    """The refusal has the numbers and the next step; what another model shares is not counted twice."""
    world = make_world(hf_endpoint=source.url, store_quota_bytes=20 * MIB)
    one = await world.pull("hf://acme/model")
    shared = await world.pull("hf://acme/model", name="shared")
    await world.deliver()
    assert [(await world.model(model["uuid"]))["status"] for model in (one, shared)] == ["available"] * 2
    source.asked.clear()
    source.content = source.content[:-1] + b"x"
    other = await world.pull("hf://acme/model", name="other")
    await world.deliver()
    refused = await world.model(other["uuid"])
    assert (refused["status"], refused["error_code"]) == ("failed", "no-room")
    assert refused["error"].startswith(
        "12582912 bytes are to be stored, 12582912 bytes of the quota of 20971520 bytes are taken: delete models"
    )
    assert source.asked == []


async def test_what_seaweedfs_has_free_is_asked(
    make_world: Callable[..., Any], source: Any, s3_endpoint: dict[str, str]
) -> None:
    """Its volume server's page; with as much as this machine has, a small model fits."""
    world = make_world(hf_endpoint=source.url, store_status_url=s3_endpoint["status_url"])
    budget = await world.workshop.planner._space.budget()
    assert budget.free is not None
    assert budget.free > 10 * MIB
    record = await world.pull("hf://acme/model")
    await world.deliver()
    assert (await world.model(record["uuid"]))["status"] == "available"


@pytest.mark.parametrize(
    ("page", "code"), [(b'{"DiskStatuses": [{"free": 1000}]}', "no-room"), (b"busy", None)], ids=["full", "no page"]
)
async def test_a_full_store_is_noticed_before_the_first_byte(
    make_world: Callable[..., Any], source: Any, page: bytes, code: str | None
) -> None:
    """A page that says nothing stops nobody."""
    world = make_world(hf_endpoint=source.url, store_status_url=f"{source.url}/file/status")
    source.behave = lambda _, request: web.Response(body=page) if request.path == "/file/status" else None
    record = await world.pull("hf://acme/model")
    await world.deliver()
    model = await world.model(record["uuid"])
    assert model["error_code"] == code
    assert "the store has 1000 bytes free" in (model["error"] or "the store has 1000 bytes free")


async def test_room_is_made_of_what_nobody_refers_to(make_world: Callable[..., Any], source: Any) -> None:
    """A deleted model's content is kept for a while, but not when it stands in the way of another."""
    world = make_world(hf_endpoint=source.url, store_quota_bytes=20 * MIB)
    one = await world.pull("hf://acme/model")
    await world.deliver()
    await world.client.delete(f"/models/{one['uuid']}")
    source.content = source.content[:-1] + b"x"
    other = await world.pull("hf://acme/model", name="other")
    await world.deliver()
    assert (await world.model(other["uuid"]))["status"] == "available"
