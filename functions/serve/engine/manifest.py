"""The stored manifest of a model, and what an engine takes from it. Pure: bytes and values in, decisions out.

Written by download after every file was verified (`manifests/<uuid>.json`). It says under which key of the bucket each
file's content lies, since models share what is the same. The fetch checks the bucket against it before the first byte,
and every byte it loads against its digests afterwards.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Final

import msgspec

# 1: files lie under their model and their path. 2: each names its key.
VERSIONS: Final = frozenset({1, 2})
# What vLLM reads besides weights: configuration, tokenizer, chat template. Never code (.py) and never pickle (.bin, .pt).
SMALL_SUFFIXES: Final = frozenset({".json", ".txt", ".jinja", ".model", ".tiktoken", ".jsonl"})
# Tokenizers reach 30 MB; a larger "small" file is not one of those.
MAX_SMALL_BYTES: Final = 64 * 1024 * 1024
INDEX: Final = "model.safetensors.index.json"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
# The POSIX limit of one path; the bucket allows 1,024.
_MAX_PATH: Final = 1024


class Refused(Exception):
    """The engine does not start; the message says why and what to do."""


class ManifestFile(msgspec.Struct, frozen=True):
    """One file of the model: its path inside the model, size in bytes, SHA-256 in hexadecimal, key in the bucket."""

    path: str
    size: int
    sha256: str
    key: str = ""


class Manifest(msgspec.Struct, frozen=True):
    """Which bytes are the model."""

    version: int
    model_uuid: str
    model_name: str
    files: tuple[ManifestFile, ...]


def parse(data: bytes, model_uuid: str) -> Manifest:
    """Read a manifest and hold it against its own rules. Raises Refused."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(f"the manifest of model {model_uuid} cannot be read: {error}") from error
    if manifest.version not in VERSIONS:
        raise Refused(
            f"the manifest has version {manifest.version}, this engine reads up to {max(VERSIONS)}: update the engine"
        )
    if manifest.model_uuid != model_uuid:
        raise Refused(f"the manifest under {model_uuid} is that of model {manifest.model_uuid}")
    files = tuple(_placed(file, model_uuid) for file in manifest.files)
    return msgspec.structs.replace(manifest, files=files)


def _placed(file: ManifestFile, model_uuid: str) -> ManifestFile:
    """The file with its key: it lies under its content's digest, or under its model and path, and nowhere else."""
    _check_file(file)
    of_model = f"models/{model_uuid}/{file.path}"
    if file.key not in {"", of_model, f"blobs/sha256/{file.sha256[:2]}/{file.sha256}"}:
        raise Refused(f"the manifest has {file.path} under {file.key!r}, which is the place of another file")
    return msgspec.structs.replace(file, key=file.key or of_model)


def _check_file(file: ManifestFile) -> None:
    path = PurePosixPath(file.path)
    inside = file.path and not path.is_absolute() and ".." not in path.parts and str(path) == file.path
    if not inside or not file.path.isprintable() or "\\" in file.path or len(file.path) > _MAX_PATH:
        raise Refused(f"the manifest names the file {file.path!r}, which is no path inside a model")
    if file.size < 0 or not _SHA256.fullmatch(file.sha256):
        raise Refused(f"the manifest has no usable size and sha256 for {file.path}")


def check_stored(manifest: Manifest, sizes: Mapping[str, int]) -> None:
    """Every file of the manifest is in the bucket with its size. sizes: bytes by path. Raises Refused."""
    for file in manifest.files:
        stored = sizes.get(file.path)
        if stored is None:
            raise Refused(f"{file.path} is gone from the bucket: download the model again")
        if stored != file.size:
            raise Refused(
                f"{file.path} has {stored} bytes in the bucket, the manifest says {file.size}: "
                "it was changed after it had been verified; download the model again"
            )


def check_digest(file: ManifestFile, sha256: str) -> None:
    """The bytes that arrived are those that download verified. Raises Refused."""
    if sha256 != file.sha256:
        raise Refused(
            f"{file.path} has sha256 {sha256}, the manifest says {file.sha256}: "
            "it was changed after it had been verified; download the model again"
        )


def small_files(manifest: Manifest) -> list[ManifestFile]:
    """Configuration, tokenizer and chat template; embedding models keep some in folders (`1_Pooling/config.json`)."""
    return [
        file
        for file in manifest.files
        if PurePosixPath(file.path).suffix in SMALL_SUFFIXES and file.size <= MAX_SMALL_BYTES
    ]


def weight_files(manifest: Manifest, index: bytes | None) -> list[ManifestFile]:
    """The safetensors files to load: those of the index where there is one (a repository may hold a second copy).

    Raises Refused when the index names a file that the manifest does not have, or when there are no weights at all.
    """
    held = {file.path: file for file in manifest.files if file.path.endswith(".safetensors") and "/" not in file.path}
    wanted = sorted(held) if index is None else sorted(set(_shards(index)))
    missing = [path for path in wanted if path not in held]
    if missing:
        raise Refused(f"{INDEX} names {missing[0]}, which is not in the manifest: the model is not complete")
    if not wanted:
        raise Refused("the model has no safetensors weights; this engine loads no other format")
    return [held[path] for path in wanted]


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


def _shards(index: bytes) -> Iterable[str]:
    try:
        return msgspec.json.decode(index, type=_Index).weight_map.values()
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(f"{INDEX} cannot be read: {error}") from error
