"""What is gathered out of the files of a whole model, and what of them does not make one."""

import json
import struct
from collections.abc import Mapping
from typing import Any

import pytest

from functions.download.facts import MAX_CONFIG_BYTES, gather
from functions.download.manifest import IncompleteModel, StoredFile
from tests.unit.weight_files import Info, gguf_file, gguf_key, gguf_text, safetensors_file, tensor

INDEX = "model.safetensors.index.json"
ONE = safetensors_file({"a": tensor("BF16", [2], 0, 4)}, 4)
TWO = safetensors_file({"b": tensor("F32", [1], 0, 4), "c": tensor("F32", [1], 4, 8)}, 8)


async def gathered(contents: Mapping[str, bytes]) -> dict[str, Any]:
    """The facts of a model that consists of these files."""

    async def read(file: StoredFile, start: int, end: int) -> bytes:
        return contents[file.path][start:end]

    return await gather([StoredFile(path, len(content), "") for path, content in contents.items()], read)


def index(**shards: str) -> bytes:
    """An index that places tensors into files, with _ for the dot."""
    return json.dumps({"weight_map": {name: shard.replace("_", ".") for name, shard in shards.items()}}).encode()


async def test_shards_are_counted_together() -> None:
    """All parameters by dtype, with the configuration; the format and the weights' bytes beside them."""
    files = {"1.safetensors": ONE, "2.safetensors": TWO, INDEX: index(a="1_safetensors", b="2_safetensors")}
    assert await gathered({**files, "config.json": b'{"architectures": ["LlamaForCausalLM"]}'}) == {
        "format": "safetensors",
        "config": {"architectures": ["LlamaForCausalLM"]},
        "weights_bytes": len(ONE) + len(TWO),
        "parameters": {"BF16": 2, "F32": 2},
        "embeds": False,
        "architecture": "LlamaForCausalLM",
    }


async def test_an_index_in_a_folder_speaks_of_that_folder() -> None:
    """Shards are looked for beside their index."""
    assert await gathered({"sub/1.safetensors": ONE, f"sub/{INDEX}": index(a="1_safetensors")})


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"1.safetensors": ONE, INDEX: index(a="1_safetensors", b="2_safetensors")},
            "not there, first '2.safetensors'",
        ),
        ({"1.safetensors": ONE, INDEX: index(a="../1_safetensors")}, "not there"),
        ({"1.safetensors": ONE, f"sub/{INDEX}": index(a="1_safetensors")}, "first 'sub/1.safetensors'"),
        ({"1.safetensors": ONE, INDEX: index(a="1_safetensors", b="1_safetensors")}, "places 1 tensors into 1.safe"),
        ({INDEX: b"{}"}, "model.safetensors.index.json: it is not an index"),
        ({"1.safetensors": ONE[:-1]}, "1.safetensors: the tensors declare 4 bytes and the file holds 3"),
        ({"m.gguf": b"\x80\x04." + bytes(40)}, "m.gguf: the file does not begin with GGUF"),
        ({"1.safetensors": ONE, "config.json": b"{"}, "config.json cannot be read"),
        ({"1.safetensors": ONE, "config.json": b"[" * 100_000}, "config.json cannot be read"),
        ({"1.safetensors": ONE, "config.json": b" " * (MAX_CONFIG_BYTES + 1)}, "are the most that is read"),
    ],
)
async def test_files_that_do_not_make_a_model_are_named(files: dict[str, bytes], words: str) -> None:
    """Missing shards, tensors in the wrong shard, headers that lie, a configuration that is none."""
    with pytest.raises(IncompleteModel, match=words):
        await gathered(files)


def split(number: int, count: int, *, architecture: str = "") -> bytes:
    """One of several GGUF files, with 32 floats."""
    keys = [gguf_key("general.architecture", 8, gguf_text(architecture))] if architecture else []
    keys += [gguf_key("split.no", 2, struct.pack("<H", number)), gguf_key("split.count", 2, struct.pack("<H", count))]
    return gguf_file(keys, [Info()], 128)


async def test_gguf_files_are_summed_up_together() -> None:
    """The first that names an architecture speaks for all; elements and bytes by type are sums."""
    found = await gathered(
        {"m-00001-of-00002.gguf": split(0, 2, architecture="llama"), "m-00002-of-00002.gguf": split(1, 2)}
    )
    assert (found["format"], found["architecture"], found["parameters"]) == ("gguf", "llama", {"F32": 64})
    assert found["gguf"] == {"general.architecture": "llama"}
    assert (found["byte_order"], found["tensor_bytes"]) == ("little", {"F32": 256})


@pytest.mark.parametrize("numbers", [[0], [1, 2], [0, 1, 1]])
async def test_a_gguf_file_among_several_wants_the_others(numbers: list[int]) -> None:
    """By what the files themselves say, not by their names alone."""
    files = {f"m-{place + 1:05}-of-00003.gguf": split(number, 3) for place, number in enumerate(numbers)}
    with pytest.raises(IncompleteModel, match="of the 3 GGUF files of m not every one"):
        await gathered(files)
