"""The engines under test: how each is started, and how a test speaks to it."""

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from functions.kit.objects import S3Objects
from functions.kit.settings import Secret
from kn_model.hub import smollm2
from kn_model.local.data.seaweed import Seaweed
from tests.conformance.platform import Platform
from tests.deliveries import ENVIRONMENT

SERVER = "smol"
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
REVISION = "smol-00001"
UUID = "11111111-1111-4111-8111-111111111111"
# vLLM's imports alone take eight seconds on two idle cores.
START_S = 300
ENGINE_ARGS = ["--enforce-eager", "--dtype", "bfloat16", "--max-model-len", "2048", "--max-num-seqs", "8"]
KV_CACHE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class Engine:
    """A running engine and the platform around it."""

    url: str
    platform: Platform
    process: subprocess.Popen[bytes]
    ready_s: float = 0.0

    def client(self, credential: str | None = None) -> httpx.Client:
        """An HTTP client that carries a credential (by default a user's token); an empty one carries none."""
        credential = f"Bearer {self.platform.token()}" if credential is None else credential
        headers = {"authorization": credential} if credential else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)


def stub(_: int) -> list[str]:
    """The command of the stub."""
    return [sys.executable, "-m", "functions.serve.engine.stub"]


def vllm(_: int) -> list[str]:
    """The command of the engine."""
    return [sys.executable, "-m", "functions.serve.engine"]


@contextmanager
def running(
    command: Callable[[int], list[str]], platform: Platform, environ: Mapping[str, str], log: Path
) -> Iterator[Engine]:
    """Start what `command` says for a port, wait for /health, stop it with SIGTERM at the end."""
    port = _free_port()
    settings = {
        "TORPOR_SERVER_NAME": SERVER,
        "TORPOR_MODEL_NAME": MODEL,
        "K_REVISION": REVISION,
        "TORPOR_JWKS_URL": f"{platform.url}/jwks.json",
        "TORPOR_VERIFY_URL": f"{platform.url}/verify",
        "TORPOR_USAGE_SINK": f"{platform.url}/broker",
        "TORPOR_ENGINE_EVENT_KEY": ENVIRONMENT["TORPOR_ENGINE_EVENT_KEY"],
        "HOST": "127.0.0.1",
        "PORT": str(port),
    }
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(port), env={**os.environ, **settings, **environ}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait(f"http://127.0.0.1:{port}", process, log)
        yield Engine(f"http://127.0.0.1:{port}", platform, process, time.monotonic() - started)
    finally:
        process.terminate()
        process.wait(60)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the engine ended: {log.read_text(errors='replace')[-3000:]}"
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"the engine was not ready in {START_S} s: {log.read_text(errors='replace')[-3000:]}")


@contextmanager
def stored_model(folder: Path, source: Path | None = None) -> Iterator[dict[str, str]]:
    """An S3 that holds the model as download stores it; the settings with which an engine finds it there."""
    server = Seaweed(folder / "s3", folder / "s3.log")
    with asyncio.Runner() as runner:
        runner.run(server.start())
        try:
            found = server.credentials
            objects = S3Objects(
                found.endpoint, found.region, Secret(found.access_key), Secret(found.secret_key), found.bucket
            )
            runner.run(store(objects, files_of(source or smollm2.ensure(say=lambda _: None))))
            yield {
                "TORPOR_MODEL_UUID": UUID,
                "TORPOR_S3_ENDPOINT": found.endpoint,
                "TORPOR_S3_REGION": found.region,
                "TORPOR_S3_BUCKET": found.bucket,
                "TORPOR_S3_ACCESS_KEY": found.access_key,
                "TORPOR_S3_SECRET_KEY": found.secret_key,
                "TORPOR_ENGINE_ARGS": json.dumps([*ENGINE_ARGS, f"--kv-cache-memory-bytes={KV_CACHE_BYTES}"]),
            }
        finally:
            runner.run(server.stop())


def files_of(source: Path) -> dict[str, bytes]:
    """A repository's files by name."""
    return {path.name: path.read_bytes() for path in sorted(source.iterdir()) if path.is_file()}


def key_of(data: bytes) -> str:
    """Where download puts this content."""
    digest = hashlib.sha256(data).hexdigest()
    return f"blobs/sha256/{digest[:2]}/{digest}"


async def store(objects: S3Objects, files: Mapping[str, bytes], *, version: int = 2) -> None:
    """Put files and their manifest into the bucket, as download leaves them; version 1: as it did before blobs."""
    listed: list[dict[str, Any]] = []
    for path, data in files.items():
        key = key_of(data) if version > 1 else f"models/{UUID}/{path}"
        await objects.put(key, data)
        placed = {"key": key} if version > 1 else {}
        listed.append({"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), **placed})
    manifest = {"version": version, "model_uuid": UUID, "model_name": MODEL, "files": listed}
    await objects.put(f"manifests/{UUID}.json", json.dumps(manifest).encode())
