"""The manifest of a stored model, and what the serve function's contract needs to know of it. Pure.

The manifest is the claim that others check: an engine compares what it loads with it before it serves. It is written
when everything is verified and never changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

# 2: files have keys of their own. An engine that reads 1 alone says so, and does not look where nothing is.
VERSION: Final = 2


class IncompleteModel(ValueError):
    """The files do not make a model, though each is verified; the message names what is missing."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A verified file in the bucket: size in bytes, sha256 in hex, key of the object that holds it."""

    path: str
    size: int
    sha256: str
    key: str = ""


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


def key(model_uuid: str) -> str:
    """Where a model's manifest lies in the bucket."""
    return f"manifests/{model_uuid}.json"


def make(model: Mapping[str, Any], files: Sequence[StoredFile], now: datetime) -> Manifest:
    """The manifest of a model row and its files."""
    total = sum(file.size for file in files)
    named = (model["uuid"], model["model_name"], model["source"], model["revision"] or "")
    return Manifest(VERSION, *named, now.isoformat(timespec="seconds"), files, total)


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
        # What sentence-transformers writes beside a model that makes vectors, whatever its architecture is.
        "embeds": any(file.path == "modules.json" for file in files),
        "architecture": architectures[0] if isinstance(architectures, list) and architectures else None,
    }
