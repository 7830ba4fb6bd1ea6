"""An engine loads the bytes that download verified, or nothing: against a real S3."""

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from functions.kit.objects import S3Objects
from functions.kit.settings import load
from functions.serve.engine import fetch
from functions.serve.engine.manifest import Refused
from functions.serve.engine.settings import EngineSettings
from functions.serve.engine.transfer import RANGE_BYTES, Order, close_all, fetch_model
from tests.conformance.engines import UUID, key_of, store

# More than one range, and an end that fills none.
WEIGHTS = bytes(range(256)) * (RANGE_BYTES // 256) + b"the rest"
FILES = {
    "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
    "model-1.safetensors": WEIGHTS,
    "model-2.safetensors": b"",
    "model.safetensors.index.json": json.dumps(
        {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    ).encode(),
    "modeling.py": b"raise SystemExit",
}


async def fetched(objects: S3Objects, folder: Path, weights_in: str = "memory") -> dict[str, bytes]:
    """Fetch the model; the files of its directory as vLLM would read them."""
    sinks = await fetch_model(objects, Order(UUID, folder, weights_in, parallel=2), lambda: None)
    try:
        return {name: (folder / name).read_bytes() for name in os.listdir(folder)}  # noqa: PTH208  # ASYNC240
    finally:
        close_all(sinks)


@pytest.mark.parametrize(("weights_in", "version"), [("memory", 2), ("disk", 2), ("memory", 1)])
async def test_files_arrive_as_they_were_stored(
    objects: S3Objects, tmp_path: Path, weights_in: str, version: int
) -> None:
    """Configuration and weights, byte for byte, wherever the manifest's version has them; code stays where it is."""
    await store(objects, FILES, version=version)
    arrived = await fetched(objects, tmp_path, weights_in)
    assert arrived == {name: data for name, data in FILES.items() if name != "modeling.py"}


async def test_weights_leave_nothing_behind(objects: S3Objects, tmp_path: Path) -> None:
    """Once loaded, their memory is given back."""
    await store(objects, FILES)
    await fetched(objects, tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["config.json", "model.safetensors.index.json"]  # noqa: PTH208  # ASYNC240


async def test_verified_weights_cannot_be_changed(objects: S3Objects, tmp_path: Path) -> None:
    """The memory file is sealed: not even its own process can write to it."""
    await store(objects, FILES)
    sinks = await fetch_model(objects, Order(UUID, tmp_path), lambda: None)
    with pytest.raises(PermissionError), (tmp_path / "model-1.safetensors").open("r+b") as file:
        file.write(b"x")
    close_all(sinks)


@pytest.mark.parametrize("name", ["config.json", "model-1.safetensors"])
async def test_file_changed_after_verification_is_refused(objects: S3Objects, tmp_path: Path, name: str) -> None:
    """The same number of other bytes under the same name: only the digest tells (S10)."""
    await store(objects, FILES)
    await objects.put(key_of(FILES[name]), bytes(len(FILES[name])))
    with pytest.raises(Refused, match=rf"{name} has sha256 .* changed after it had been verified"):
        await fetched(objects, tmp_path)


@pytest.mark.parametrize(("change", "reason"), [(b"x", "has 1 bytes in the bucket"), (None, "is gone from the bucket")])
async def test_bucket_without_the_file_is_refused(
    objects: S3Objects, tmp_path: Path, change: bytes | None, reason: str
) -> None:
    """Before anything is read."""
    await store(objects, FILES)
    key = key_of(WEIGHTS)
    await (objects.delete([key]) if change is None else objects.put(key, change))
    with pytest.raises(Refused, match=reason):
        await fetched(objects, tmp_path)


async def test_model_without_manifest_is_refused(objects: S3Objects, tmp_path: Path) -> None:
    """Not available yet, or deleted."""
    with pytest.raises(Refused, match="download it first"):
        await fetch_model(objects, Order("unknown", tmp_path), lambda: None)


def settings(s3_endpoint: Mapping[str, str]) -> EngineSettings:
    """An engine's settings for that S3."""
    environ = {
        "TORPOR_SERVER_NAME": "s",
        "TORPOR_MODEL_NAME": "m",
        "TORPOR_JWKS_URL": "http://auth/jwks",
        "TORPOR_VERIFY_URL": "http://auth/verify",
        "TORPOR_MODEL_UUID": UUID,
        "TORPOR_ENGINE_EVENT_KEY": "k" * 32,
        **{f"TORPOR_S3_{name.upper()}": value for name, value in s3_endpoint.items()},
    }
    return load(EngineSettings, environ)


def test_process_of_its_own_fetches(objects: S3Objects, s3_endpoint: dict[str, str]) -> None:
    """Another process fetches while this one is busy; its memory files are readable here until they are released."""
    asyncio.run(store(objects, FILES))
    under_way = fetch.begin(settings(s3_endpoint))
    assert under_way.wait("configured") <= under_way.wait("verified")
    assert (under_way.directory / "model-1.safetensors").read_bytes() == WEIGHTS
    under_way.release()
    under_way.discard()
    assert not under_way.directory.exists()


def test_refusal_comes_through_from_the_process(s3_endpoint: dict[str, str]) -> None:
    """Whatever the fetching process refuses, the engine says."""
    under_way = fetch.begin(replace(settings(s3_endpoint), model_uuid="unknown"))
    with pytest.raises(Refused, match="no manifest for model unknown"):
        under_way.wait("verified")
    under_way.discard()
