"""What the manifest and the metadata of a model say."""

from datetime import UTC, datetime

import msgspec

from functions.download.manifest import StoredFile, make, metadata

FILES = [StoredFile("config.json", 2, "aa", "blobs/aa"), StoredFile("m.safetensors", 10, "bb", "blobs/bb")]


def test_the_manifest_names_every_file_and_its_origin() -> None:
    """The form that engines check."""
    row = {"uuid": "u", "model_name": "m", "source": "hf://a/m", "revision": "c"}
    document = make(row, FILES, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert msgspec.to_builtins(document) == {
        "version": 2,
        "model_uuid": "u",
        "model_name": "m",
        "source": "hf://a/m",
        "revision": "c",
        "created_at": "2026-01-02T03:04:05+00:00",
        "files": [
            {"path": "config.json", "size": 2, "sha256": "aa", "key": "blobs/aa"},
            {"path": "m.safetensors", "size": 10, "sha256": "bb", "key": "blobs/bb"},
        ],
        "total_bytes": 12,
    }


def test_the_metadata_carries_what_the_contract_computes_with() -> None:
    """Weights alone count as weights."""
    config = {"architectures": ["LlamaForCausalLM"]}
    assert metadata(FILES, config, {"BF16": 5}) == {
        "format": "safetensors",
        "config": config,
        "weights_bytes": 10,
        "parameters": {"BF16": 5},
        "embeds": False,
        "architecture": "LlamaForCausalLM",
    }


def test_a_model_that_makes_vectors_says_so() -> None:
    """By the file that sentence-transformers reads, since a decoder's architecture does not tell."""
    files = [*FILES, StoredFile("modules.json", 3, "cc")]
    assert [metadata(listed, None, {})["embeds"] for listed in (FILES, files)] == [False, True]
