"""A folder of the machine, from the request to the available model: as on the laptop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MIB = 1024 * 1024


@pytest.fixture
def folder(tmp_path: Path, make_tensors: Callable[[int], bytes]) -> Path:
    """A model in a folder: its weights are more than one part."""
    place = tmp_path / "my model"
    place.mkdir()
    (place / "config.json").write_bytes(b'{"architectures": ["LlamaForCausalLM"]}')
    (place / "model.safetensors").write_bytes(make_tensors(12 * MIB))
    (place / "train.py").write_bytes(b"print()")
    return place


async def test_a_folder_becomes_a_model(make_world: Any, folder: Path) -> None:
    """Its weights and texts, byte for byte; no code."""
    world = make_world(allowed_source_folders=(str(folder.parent),))
    record = await world.pull(folder.as_uri(), name="mine")
    await world.deliver()
    model = await world.model(record["uuid"])
    assert (model["status"], model["error"]) == ("available", None)
    assert await world.stored(record["uuid"]) == {
        name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors")
    }


async def test_a_folder_outside_is_refused(make_world: Any, folder: Path, tmp_path: Path) -> None:
    """The reason names the setting."""
    (tmp_path / "other").mkdir()
    world = make_world(allowed_source_folders=(str(tmp_path / "other"),))
    record = await world.pull(folder.as_uri(), name="mine")
    await world.deliver()
    model = await world.model(record["uuid"])
    assert (model["status"], model["error_code"]) == ("failed", "source-forbidden")
    assert "TORPOR_ALLOWED_SOURCE_FOLDERS" in model["error"]


async def test_without_the_setting_the_request_itself_is_refused(make_world: Any, folder: Path) -> None:
    """422, and nothing is kept."""
    world = make_world()
    response = await world.client.post("/models", json={"source": folder.as_uri()})
    assert response.status_code == 422
    assert "laptop" in response.json()["detail"]
    assert await world.db.fetch("SELECT 1 FROM model_records") == []
