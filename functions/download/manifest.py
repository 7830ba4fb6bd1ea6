"""The manifest of a stored model, and what the serve function's contract needs to know of it. Pure.

The manifest is the claim that others check: an engine compares what it loads with it before it serves. It is written
when everything is verified and never changes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

VERSION: Final = 1
SAFETENSORS_INDEX: Final = ".safetensors.index.json"


class IncompleteModel(ValueError):
    """The files do not make a model, though each is verified; the message names what is missing."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A verified file in the bucket: size in bytes, sha256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model consists of. source and revision say where it came from, created_at is RFC 3339."""

    version: int
    model_uuid: str
    model_name: str
    source: str
    revision: str
    created_at: str
    files: Sequence[StoredFile]
    total_bytes: int


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


def key(model_uuid: str) -> str:
    """Where a model's manifest lies in the bucket."""
    return f"manifests/{model_uuid}.json"


def make(model: Mapping[str, Any], files: Sequence[StoredFile], now: datetime) -> Manifest:
    """The manifest of a model row and its files."""
    total = sum(file.size for file in files)
    named = (model["uuid"], model["model_name"], model["source"], model["revision"] or "")
    return Manifest(VERSION, *named, now.isoformat(timespec="seconds"), files, total)


def check_shards(index_path: str, index: bytes, paths: Iterable[str]) -> None:
    """Raise IncompleteModel when an index names a shard that is not among `paths`, or cannot be read."""
    try:
        named = set(msgspec.json.decode(index, type=_Index).weight_map.values())
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise IncompleteModel(f"{index_path} cannot be read: {error}") from error
    folder = index_path.rpartition("/")[0]
    missing = sorted({f"{folder}/{name}" if folder else name for name in named} - set(paths))
    if missing:
        raise IncompleteModel(
            f"{index_path} names {len(missing)} files that are not there, first {ascii(missing[0])[:120]}"
        )


def metadata(files: Sequence[StoredFile], config: Any, parameters: Mapping[str, int]) -> dict[str, Any]:
    """What goes into model_records.model_metadata. config: the content of config.json, or None without one."""
    weights = [file for file in files if file.path.endswith((".safetensors", ".gguf"))]
    formats = {file.path.rpartition(".")[2] for file in weights}
    architectures = config.get("architectures") if isinstance(config, dict) else None
    return {
        "format": "safetensors" if "safetensors" in formats else next(iter(formats), "other"),
        "config": config,
        "weights_bytes": sum(file.size for file in weights),
        "parameters": dict(parameters),
        "architecture": architectures[0] if isinstance(architectures, list) and architectures else None,
    }
