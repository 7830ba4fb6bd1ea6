"""What a web source only claims, or does not say: sizes, versions. Nothing is believed that could cost memory or mix bytes."""

from typing import Any

import pytest
from aiohttp import web


@pytest.fixture
def world_of(make_world: Any, source: Any) -> Any:
    """The function, fetching from the misbehaving hub."""
    return make_world(hf_endpoint=source.url)


@pytest.mark.parametrize("later", ["Sat, 21 Nov 2026 12:00:01 GMT", ""])
async def test_a_web_file_without_etags_is_pinned_by_its_date(world_of: Any, source: Any, later: str) -> None:
    """Nobody promised its digest: an answer of another date, or of none, is another version."""
    dates = iter(["Sat, 21 Nov 2026 12:00:00 GMT"] * 3)

    async def dated(origin: Any, request: web.Request) -> web.StreamResponse:
        bounds, size = request.http_range, len(origin.content)
        start, end = bounds.start or 0, min(bounds.stop or size, size)
        headers = {"Content-Range": f"bytes {start}-{end - 1}/{size}"}
        if date := next(dates, later):
            headers["Last-Modified"] = date
        return web.Response(status=206, body=origin.content[start:end], headers=headers)

    source.behave = dated
    record = await world_of.pull(f"{source.url}/file/model.safetensors")
    await world_of.deliver()
    model = await world_of.model(record["uuid"])
    assert (model["status"], model["error_code"]) == ("failed", "source-changed")
    assert await world_of.stored(record["uuid"]) == {}


async def test_a_web_file_that_names_no_version_is_refused(world_of: Any, source: Any) -> None:
    """Neither ETag nor Last-Modified: before the first byte."""
    source.behave = lambda *_: web.Response(status=206, body=b"x", headers={"Content-Range": "bytes 0-0/100"})
    record = await world_of.pull(f"{source.url}/file/model.safetensors")
    await world_of.deliver()
    assert (await world_of.model(record["uuid"]))["error_code"] == "version-unknown"


@pytest.mark.parametrize(
    ("total", "code"), [("40000000000000", "size-unknown"), ("4000000000000", "file-too-large"), ("²", "size-unknown")]
)
async def test_a_size_that_is_only_said_costs_no_memory(world_of: Any, source: Any, total: str, code: str) -> None:
    """What would want parts larger than an instance is refused, and what is no number."""

    def boasting(_: Any, __: web.Request) -> web.Response:
        headers = {"Content-Range": f"bytes 0-0/{total}", "ETag": '"one"'}
        return web.Response(status=206, body=b"x", headers=headers)

    source.behave = boasting
    record = await world_of.pull(f"{source.url}/file/model.safetensors")
    await world_of.deliver()
    assert (await world_of.model(record["uuid"]))["error_code"] == code
