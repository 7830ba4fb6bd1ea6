"""From a request to an available model: what a pull leaves behind when everything goes well."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

Publish = Callable[[str, Mapping[str, bytes]], None]
Tensors = Callable[[int], bytes]

MIB = 1024 * 1024
CONFIG = b'{"architectures": ["LlamaForCausalLM"], "hidden_size": 576}'


async def test_a_repository_becomes_an_available_model(
    world: Any, publish_repository: Publish, make_tensors: Tensors
) -> None:
    """Every chosen file is in the bucket byte for byte, the manifest names it, and the row says where."""
    files = {"config.json": CONFIG, "model.safetensors": make_tensors(12 * MIB), "tokenizer.json": b"{}"}
    publish_repository("acme/model", {**files, "README.md": b"not needed"})
    record = await world.pull("hf://acme/model")
    await world.deliver()
    model = await world.model(record["uuid"])
    manifest = json.loads(await world.objects.get(f"manifests/{record['uuid']}.json"))
    assert (model["status"], model["error"]) == ("available", None)
    assert await world.stored(record["uuid"]) == files
    assert {entry["path"]: entry["sha256"] for entry in manifest["files"]} == {
        path: hashlib.sha256(content).hexdigest() for path, content in files.items()
    }
    assert model["minio_path"] == f"s3://{world.settings.s3_bucket}/manifests/{record['uuid']}.json"
    assert model["file_size_bytes"] == manifest["total_bytes"] == sum(map(len, files.values()))
    assert model["hf_name"] == "acme/model"
    assert len(model["revision"]) == 40
    assert model["model_metadata"]["config"] == json.loads(CONFIG)
    assert model["model_metadata"]["parameters"] == {"U8": 12 * MIB - 208}
    assert model["model_metadata"]["architecture"] == "LlamaForCausalLM"
    assert world.broker.types()[-1] == "model.available.v1"


async def test_the_same_request_is_the_same_record(
    world: Any, publish_repository: Publish, make_tensors: Tensors
) -> None:
    """A second, equal POST answers the first record and starts nothing; another name is another record."""
    publish_repository("acme/model", {"model.safetensors": make_tensors(MIB)})
    first = await world.pull("hf://acme/model")
    again = await world.pull("hf://acme/model")
    other = await world.pull("hf://acme/model", name="mine")
    assert first["uuid"] == again["uuid"] != other["uuid"]
    assert world.broker.types() == ["model.requested.v1"] * 2
