"""A model of a quant service, from the catalogue to the available record."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from tests.unit.weight_files import Info, gguf_file, gguf_key, gguf_text

MIB = 1024 * 1024
# 16 MiB of floats: more than one part.
MODEL = gguf_file([gguf_key("general.architecture", 8, gguf_text("llama"))], [Info(dimensions=(4 * MIB,))], 16 * MIB)


@pytest.fixture
async def quant_service() -> AsyncIterator[str]:
    """A server with a catalogue of two levels, whose Q8_0 has a wrong digest."""

    async def catalogue(_: web.Request) -> web.Response:
        right = hashlib.sha256(MODEL).hexdigest()
        entry = {"size": len(MODEL), "url": "files/m-Q4_K_M.gguf"}
        return web.json_response(
            {
                "variants": [
                    {"id": 41, "level": "Q4_K_M", "sha256": right, **entry},
                    {"id": 42, "level": "Q8_0", "sha256": "00" * 32, **entry},
                    {"id": 43, "level": "F16", "sha256": right, **entry, "url": "https://10.0.0.1/m.gguf"},
                ]
            }
        )

    async def content(request: web.Request) -> web.Response:
        bounds = request.http_range
        start, end = bounds.start or 0, bounds.stop or len(MODEL)
        headers = {"Content-Range": f"bytes {start}-{end - 1}/{len(MODEL)}", "ETag": '"one"'}
        return web.Response(status=206, body=MODEL[start:end], headers=headers)

    app = web.Application()
    app.router.add_get("/tiny", catalogue)
    app.router.add_get("/files/m-Q4_K_M.gguf", content)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"quant+http://127.0.0.1:{runner.addresses[0][1]}/tiny"
    await runner.cleanup()


async def test_a_variant_is_fetched_and_says_what_it_is(make_world: Any, quant_service: str) -> None:
    """The usual level; the record has the service's id and level, and what the file says of itself."""
    world = make_world()
    record = await world.pull(quant_service)
    await world.deliver()
    model = await world.model(record["uuid"])
    assert (model["status"], model["error"]) == ("available", None)
    assert (model["model_name"], model["external_source_id"], model["quant_level"]) == ("tiny", 41, "Q4_K_M")
    assert await world.stored(record["uuid"]) == {"m-Q4_K_M.gguf": MODEL}
    again = await world.pull(quant_service)
    assert (again["uuid"], again["external_source_id"], again["quant_level"]) == (record["uuid"], 41, "Q4_K_M")
    assert model["model_metadata"]["gguf"] == {"general.architecture": "llama"}


@pytest.mark.parametrize(
    ("level", "code", "words"),
    [
        ("q8_0", "sha256-mismatch", "promised 000000"),
        ("F16", "source-forbidden", "10.0.0.1 is not a public address"),
        ("Q2_K", "level-not-found", "offers F16, Q4_K_M, Q8_0 and not Q2_K"),
    ],
)
async def test_another_level_is_asked_for(
    make_world: Any, quant_service: str, level: str, code: str, words: str
) -> None:
    """A wrong digest, an address inside and a level that is not there each end the pull by their names."""
    world = make_world()
    record = await world.pull(quant_service, quant_level=level)
    await world.deliver()
    model = await world.model(record["uuid"])
    assert (model["status"], model["error_code"]) == ("failed", code)
    assert words in model["error"]
    assert await world.stored(record["uuid"]) == {}
