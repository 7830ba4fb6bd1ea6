"""The manifest decides what an engine loads, and refuses everything that is not what download verified."""

import json
from typing import Any

import pytest

from functions.serve.engine import manifest as manifests
from functions.serve.engine.manifest import Manifest, ManifestFile, Refused

UUID = "u1"
SHA = "a" * 64


def document(*paths: str, **changes: Any) -> bytes:
    """A manifest of these files."""
    files = [{"path": path, "size": 1, "sha256": SHA} for path in paths]
    return json.dumps({"version": 1, "model_uuid": UUID, "model_name": "m", "files": files, **changes}).encode()


def manifest(*paths: str) -> Manifest:
    """The same, parsed."""
    return manifests.parse(document(*paths), UUID)


def test_unknown_members_are_left_alone() -> None:
    """A newer download may write more than this engine reads."""
    expected = (ManifestFile("config.json", 1, SHA, f"models/{UUID}/config.json"),)
    assert manifests.parse(document("config.json", total_bytes=1), UUID).files == expected


def test_content_is_where_the_manifest_says() -> None:
    """Under its digest, for every model that has it; a manifest without keys is one of before, and names no other place."""
    key = f"blobs/sha256/aa/{SHA}"
    files = [{"path": "config.json", "size": 1, "sha256": SHA, "key": key}]
    assert manifests.parse(document(files=files, version=2), UUID).files[0].key == key


@pytest.mark.parametrize("key", ["models/other/config.json", f"blobs/sha256/bb/{'b' * 64}", "manifests/u1.json"])
def test_a_place_of_something_else_is_refused(key: str) -> None:
    """A manifest leads to its own files alone."""
    files = [{"path": "config.json", "size": 1, "sha256": SHA, "key": key}]
    with pytest.raises(Refused, match="the place of another file"):
        manifests.parse(document(files=files), UUID)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "cannot be read"),
        (document(version=3), "version 3"),
        (document(model_uuid="other"), "that of model other"),
        (document(files=[{"path": "a", "size": 1, "sha256": "short"}]), "size and sha256"),
        (document(files=[{"path": "a", "size": -1, "sha256": SHA}]), "size and sha256"),
    ],
)
def test_unusable_manifest_is_refused(data: bytes, reason: str) -> None:
    """The refusal names what is wrong."""
    with pytest.raises(Refused, match=reason):
        manifests.parse(data, UUID)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../x", "a//b", "./a", "a\\b", "a\n", "x" * 1025])
def test_path_outside_the_model_is_refused(path: str) -> None:
    """A manifest cannot make the engine write anywhere but into its own directory."""
    with pytest.raises(Refused, match="no path inside a model"):
        manifest(path)


@pytest.mark.parametrize(("sizes", "reason"), [({}, "gone"), ({"config.json": 2}, "2 bytes")])
def test_file_missing_or_resized_in_the_bucket_is_refused(sizes: dict[str, int], reason: str) -> None:
    """What the bucket says before the first byte is read."""
    with pytest.raises(Refused, match=reason):
        manifests.check_stored(manifest("config.json"), sizes)


def test_other_digest_is_refused() -> None:
    """The same number of other bytes is another file."""
    with pytest.raises(Refused, match="was changed after it had been verified"):
        manifests.check_digest(ManifestFile("a", 1, SHA), "b" * 64)


def test_small_files_are_data_only() -> None:
    """Configuration and tokenizer are taken, code, pickle and pictures are not."""
    taken = manifests.small_files(manifest("config.json", "1_Pooling/config.json", "modeling.py", "model.bin", "a.png"))
    assert [file.path for file in taken] == ["config.json", "1_Pooling/config.json"]


def test_index_chooses_the_shards() -> None:
    """A second copy of the weights in the repository is not fetched."""
    held = manifest("model-1.safetensors", "model-2.safetensors", "consolidated.safetensors")
    index = json.dumps({"weight_map": {"x": "model-2.safetensors", "y": "model-1.safetensors"}}).encode()
    assert [file.path for file in manifests.weight_files(held, index)] == ["model-1.safetensors", "model-2.safetensors"]


def test_shard_missing_from_the_manifest_is_refused() -> None:
    """An index that names more than was verified means an incomplete model (D15)."""
    with pytest.raises(Refused, match=r"model-2\.safetensors"):
        manifests.weight_files(manifest("model-1.safetensors"), b'{"weight_map": {"x": "model-2.safetensors"}}')


@pytest.mark.parametrize("paths", [("config.json",), ("model.gguf",), ("onnx/model.safetensors",)])
def test_model_without_weights_is_refused(paths: tuple[str, ...]) -> None:
    """There is nothing to load."""
    with pytest.raises(Refused, match="no safetensors"):
        manifests.weight_files(manifest(*paths), None)
