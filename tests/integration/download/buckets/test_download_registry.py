"""A version of an MLflow registry, from the request to the available model: on a real server, where one is installed.

The server of this file speaks the six calls that are used here; it has to pass everything that the real one passes.
"""

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from functions.kit.objects import S3Objects
from functions.kit.settings import Secret

API = "/api/2.0/mlflow"
TOKEN = "mlflow-secret"  # of a server that lives for one test
# The real one imports half the Python world first.
START_S = 120.0


class Server:
    """A registry in memory, with MLflow's answers as its 3.17 gives them."""

    def __init__(self) -> None:
        self.models: dict[str, list[str]] = {}
        self.aliases: dict[tuple[str, str], str] = {}
        self.tokens: set[str] = set()

    @property
    def app(self) -> web.Application:
        """Its routes."""
        app = web.Application()
        app.router.add_post(f"{API}/registered-models/create", self.create_model)
        app.router.add_post(f"{API}/model-versions/create", self.create_version)
        app.router.add_post(f"{API}/registered-models/alias", self.set_alias)
        app.router.add_get(f"{API}/registered-models/alias", self.by_alias)
        app.router.add_get(f"{API}/model-versions/get", self.by_version)
        app.router.add_get(f"{API}/model-versions/get-download-uri", self.location)
        return app

    async def create_model(self, request: web.Request) -> web.Response:
        """A model without versions."""
        self.models[(await request.json())["name"]] = []
        return web.json_response({})

    async def create_version(self, request: web.Request) -> web.Response:
        """The next version."""
        body = await request.json()
        self.models[body["name"]].append(body["source"])
        return self._version(body["name"], str(len(self.models[body["name"]])))

    async def set_alias(self, request: web.Request) -> web.Response:
        """Another name for a version."""
        body = await request.json()
        self.aliases[body["name"], body["alias"]] = body["version"]
        return web.json_response({})

    async def by_alias(self, request: web.Request) -> web.Response:
        """The version of an alias."""
        self.tokens.add(request.headers.get("Authorization", ""))
        name, alias = request.query["name"], request.query["alias"]
        if (name, alias) not in self.aliases:
            return _error(400, "INVALID_PARAMETER_VALUE", f"Registered model alias {alias} not found.")
        return self._version(name, self.aliases[name, alias])

    async def by_version(self, request: web.Request) -> web.Response:
        """The version of a number."""
        return self._version(request.query["name"], request.query["version"])

    async def location(self, request: web.Request) -> web.Response:
        """Where a version's artifacts lie."""
        return web.json_response(
            {"artifact_uri": self.models[request.query["name"]][int(request.query["version"]) - 1]}
        )

    def _version(self, name: str, version: str) -> web.Response:
        if not 0 < int(version) <= len(self.models.get(name, ())):
            return _error(404, "RESOURCE_DOES_NOT_EXIST", f"Model Version (name={name}, version={version}) not found")
        found = {"name": name, "version": version, "status": "READY", "source": self.models[name][int(version) - 1]}
        return web.json_response({"model_version": found})


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error_code": code, "message": message}, status=status)


@pytest.fixture
async def stand_in() -> AsyncIterator[tuple[str, Server]]:
    """The address of the registry in memory, and it."""
    server = Server()
    runner = web.AppRunner(server.app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", server
    await runner.cleanup()


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a real MLflow tracking server."""
    command = shutil.which("mlflow")
    if command is None:
        pytest.skip("no mlflow on the PATH: it is half a gigabyte, so not a part of the tests' dependencies")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            command, "server", "--backend-store-uri", f"sqlite:///{tmp_path}/db", "--default-artifact-root",
            "s3://source-bucket/mlflow", "--no-serve-artifacts", "--port", str(port), "--workers", "1",
            cwd=tmp_path, stdout=log, stderr=log, process_group=0, env={**os.environ, "HOME": str(tmp_path)},
        )  # fmt: skip
    try:
        await _answers(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        await process.wait()


async def _answers(url: str) -> None:
    async with asyncio.timeout(START_S), httpx.AsyncClient() as client:
        while True:
            try:
                if (await client.get(url)).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.5)


async def register(url: str, source: str) -> None:
    """A model `tiny` with one version under the alias `champion`."""
    async with httpx.AsyncClient(base_url=url + API, timeout=60) as client:
        for path, body in (
            ("/registered-models/create", {"name": "tiny"}),
            ("/model-versions/create", {"name": "tiny", "source": source}),
            ("/registered-models/alias", {"name": "tiny", "alias": "champion", "version": "1"}),
        ):
            (await client.post(path, json=body)).raise_for_status()


@pytest.fixture(params=["stand_in", "real"])
def registry(request: pytest.FixtureRequest) -> str:
    """The address of either."""
    found = request.getfixturevalue(request.param)
    return str(found if isinstance(found, str) else found[0])


async def test_a_version_becomes_a_model(make_world: Any, registry: str, source_bucket: S3Objects) -> None:
    """By alias and by number: pinned to the version, its artifacts copied out of S3; what is missing is named."""
    await register(registry, "s3://source-bucket/tiny")
    world = make_world(mlflow_url=registry, allowed_source_buckets=("source-bucket",))
    for source in ("mlflow://tiny@champion", "mlflow://tiny/1"):
        record = await world.pull(source)
        await world.deliver()
        model = await world.model(record["uuid"])
        assert (model["status"], model["error"]) == ("available", None)
        assert (model["model_name"], model["revision"]) == ("tiny", "1")
        assert await world.stored(record["uuid"]) == {
            name: await source_bucket.get(f"tiny/{name}") for name in ("config.json", "model.safetensors")
        }
    for source, words in (("mlflow://tiny@none", "alias none not found"), ("mlflow://tiny/9", "version=9")):
        record = await world.pull(source)
        await world.deliver()
        model = await world.model(record["uuid"])
        assert (model["status"], model["error_code"]) == ("failed", "version-not-found")
        assert words in model["error"]


async def test_the_token_goes_to_the_registry(
    make_world: Any, stand_in: tuple[str, Server], source_bucket: S3Objects
) -> None:
    """As a bearer token; and a bucket that is not allowed is not read because a registry names it."""
    url, server = stand_in
    await register(url, f"s3://{source_bucket.bucket}/tiny")
    world = make_world(mlflow_url=url, mlflow_token=Secret(TOKEN))
    record = await world.pull("mlflow://tiny@champion")
    await world.deliver()
    assert (await world.model(record["uuid"]))["error_code"] == "source-forbidden"
    assert server.tokens == {f"Bearer {TOKEN}"}


async def test_without_a_server_the_setting_is_named(make_world: Any) -> None:
    """Nobody is asked."""
    world = make_world()
    record = await world.pull("mlflow://tiny/1")
    await world.deliver()
    model = await world.model(record["uuid"])
    assert (model["status"], model["error_code"]) == ("failed", "source-forbidden")
    assert "TORPOR_MLFLOW_URL" in model["error"]
