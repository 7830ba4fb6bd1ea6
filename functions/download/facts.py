"""What the stored files say about their model: gathered out of their headers once everything is verified.

`publish` calls it: what contradicts itself, or lacks a shard, is refused; the rest is what serve's contract computes with.
"""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from functions.download import gguf, manifest, safetensors
from functions.download.manifest import IncompleteModel, StoredFile
from functions.download.safetensors import Hashes
from functions.download.steps import InvalidHeader, follow

T = TypeVar("T")
# The bytes start..end-1 of a stored file.
Read = Callable[[StoredFile, int, int], Awaitable[bytes]]
# It is kept in the model's record; the longest known, with the labels of a classifier, have some 100 KB.
MAX_CONFIG_BYTES: Final = 1024 * 1024
_INDEX: Final = ".safetensors.index.json"


async def gather(files: Sequence[StoredFile], read: Read) -> dict[str, Any]:
    """The content of model_records.model_metadata. Raises IncompleteModel naming the file, and what `read` raises."""
    parameters: Counter[str] = Counter()
    indexed = await _indexes(files, read)
    summaries: dict[str, gguf.Summary] = {}
    for file in files:
        if file.path.endswith(".safetensors"):
            parameters.update(await _safetensors(file, read, indexed.get(file.path, ())))
        elif file.path.endswith(".gguf"):
            header = await _named(file, follow(gguf.read(file.size), partial(read, file)))
            summaries[file.path] = header.summary()
            parameters.update(summaries[file.path].elements)
    check_splits(summaries)
    metadata = manifest.metadata(files, await _config(files, read), parameters)
    return {**metadata, **gguf_facts(list(summaries.values()))} if summaries else metadata


def check_splits(summaries: Mapping[str, gguf.Summary]) -> None:
    """Raise IncompleteModel unless every GGUF file that calls itself one of several is there with the others."""
    groups: dict[str, list[gguf.Summary]] = defaultdict(list)
    for path, summary in summaries.items():
        if summary.splits > 1:
            # llama.cpp writes name-00001-of-00003.gguf
            groups[path.removesuffix(f"-of-{summary.splits:05}.gguf").rpartition("-")[0]].append(summary)
    for name, group in groups.items():
        if sorted(summary.split for summary in group) != list(range(group[0].splits)):
            raise IncompleteModel(f"of the {group[0].splits} GGUF files of {name} not every one is there, once")


def gguf_facts(summaries: Sequence[gguf.Summary]) -> dict[str, Any]:
    """What the contract needs of GGUF files; the keys out of the first that names an architecture."""
    named = [summary for summary in summaries if summary.keys] or summaries
    sizes: Counter[str] = Counter()
    for summary in summaries:
        sizes.update(summary.bytes)
    return {
        "architecture": named[0].keys.get("general.architecture"),
        "gguf": named[0].keys,
        "byte_order": named[0].byte_order,
        "tensor_bytes": dict(sizes),
    }


async def _indexes(files: Sequence[StoredFile], read: Read) -> dict[str, list[Hashes]]:
    """What the indexes place into each file, by its path."""
    paths = {file.path for file in files}
    placed: dict[str, list[Hashes]] = defaultdict(list)
    for index in (file for file in files if file.path.endswith(_INDEX)):
        shards = await _named(index, follow(safetensors.read_index(index.size), partial(read, index)))
        folder = index.path.rpartition("/")[0]
        for name, hashes in shards.items():
            placed[f"{folder}/{name}" if folder else name].append(hashes)
    absent = sorted(set(placed) - paths)
    if absent:
        raise IncompleteModel(f"the index names {len(absent)} files that are not there, first {ascii(absent[0])[:120]}")
    return placed


async def _safetensors(file: StoredFile, read: Read, placed: Sequence[Hashes]) -> Mapping[str, int]:
    header = await _named(file, follow(safetensors.read(file.size), partial(read, file)))
    lacking = sum(safetensors.missing(hashes, header) for hashes in placed)
    if lacking:
        raise IncompleteModel(f"the index places {lacking} tensors into {file.path} that are not there")
    return header.parameters


async def _config(files: Sequence[StoredFile], read: Read) -> Any:
    found = [file for file in files if file.path == "config.json"]
    if not found:
        return None
    if found[0].size > MAX_CONFIG_BYTES:
        raise IncompleteModel(f"config.json has {found[0].size} bytes; {MAX_CONFIG_BYTES} are the most that is read")
    try:
        return msgspec.json.decode(await read(found[0], 0, found[0].size))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise IncompleteModel(f"config.json cannot be read: {error}") from error


async def _named(file: StoredFile, reading: Awaitable[T]) -> T:
    try:
        return await reading
    except InvalidHeader as error:
        raise IncompleteModel(f"{file.path}: {error}") from error
