"""Repositories that lie in a directory: `<root>/<owner>/<name>` is branch main, `<name>@<branch>` another branch.

Answers what the hub's API tells of a repository: commit, names, sizes and the digests git and Git LFS would give them.
Used by `kn_model.hub.app`. A file `.gated` in a repository lists the tokens that may read it, one a line.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# The real hub stores these, and whatever is larger than 10 MiB, with Git LFS.
LFS_SUFFIXES: Final = frozenset({".safetensors", ".gguf", ".bin", ".pt", ".pth", ".onnx", ".h5", ".msgpack", ".model"})
LFS_BYTES: Final = 10 * 1024 * 1024
GATE: Final = ".gated"
MAIN: Final = "main"

_SEGMENT: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")
_BRANCH: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
_CHUNK: Final = 1024 * 1024


class RepositoryNotFound(Exception):
    """No directory of that name."""


class RevisionNotFound(Exception):
    """The repository has neither a branch nor a commit of that name."""


@dataclass(frozen=True, slots=True)
class Blob:
    """One file: where it lies, its size in bytes, and its digests as the hub reports them (hex)."""

    path: str
    location: Path
    size: int
    git_oid: str
    sha256: str | None = None
    pointer_size: int = 0

    @property
    def etag(self) -> str:
        """What the hub sends as ETag: the LFS digest, or git's blob id."""
        return self.sha256 or self.git_oid


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of one commit by path."""

    commit: str
    blobs: Mapping[str, Blob]


class Repositories:
    """The repositories under `root`. Digests are computed at first use and kept while a file does not change."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: dict[tuple[Path, int, int], Blob] = {}

    def snapshot(self, owner: str, name: str, revision: str = MAIN) -> Snapshot:
        """The files at a branch or commit. Raises RepositoryNotFound, RevisionNotFound; reads every new file once."""
        branches = self._branches(owner, name)
        if revision in branches:
            return self._read(branches[revision])
        for directory in branches.values():
            snapshot = self._read(directory)
            if snapshot.commit == revision:
                return snapshot
        raise RevisionNotFound(revision)

    def tokens(self, owner: str, name: str) -> frozenset[str] | None:
        """The tokens that may read a gated repository; None when everybody may."""
        gate = self._branches(owner, name).get(MAIN, self._root) / GATE
        return frozenset(gate.read_text(encoding="utf-8").split()) if gate.is_file() else None

    def _branches(self, owner: str, name: str) -> dict[str, Path]:
        if not (_SEGMENT.match(owner) and _SEGMENT.match(name)):
            raise RepositoryNotFound(f"{owner}/{name}")
        main = self._root / owner / name
        found = {MAIN: main} if main.is_dir() else {}
        for directory in sorted(main.parent.glob(f"{name}@*")):
            branch = directory.name.partition("@")[2]
            if _BRANCH.match(branch) and directory.is_dir():
                found[branch] = directory
        if not found:
            raise RepositoryNotFound(f"{owner}/{name}")
        return found

    def _read(self, directory: Path) -> Snapshot:
        blobs = {blob.path: blob for blob in self._blobs(directory)}
        tree = "".join(f"{path} {blob.etag}\n" for path, blob in blobs.items())
        return Snapshot(hashlib.sha1(tree.encode(), usedforsecurity=False).hexdigest(), blobs)

    def _blobs(self, directory: Path) -> Iterator[Blob]:
        for location in sorted(directory.rglob("*")):
            path = location.relative_to(directory).as_posix()
            if location.is_file() and path != GATE:
                stat = location.stat()
                key = (location, stat.st_size, stat.st_mtime_ns)
                if key not in self._seen:
                    self._seen[key] = describe(path, location, stat.st_size)
                yield self._seen[key]


def describe(path: str, location: Path, size: int) -> Blob:
    """Digest one file the way git, or Git LFS for large and binary ones, would."""
    if size > LFS_BYTES or location.suffix in LFS_SUFFIXES:
        sha256 = _digest(location, hashlib.sha256()).hexdigest()
        # The pointer file of the LFS specification, version 1: what git itself stores in place of the content.
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
        return Blob(path, location, size, git_blob_oid(pointer), sha256, len(pointer))
    header = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    return Blob(path, location, size, _digest(location, header).hexdigest())


def git_blob_oid(content: bytes) -> str:
    """Git's name for a blob: SHA-1 over `blob <size>`, NUL and the content."""
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


def _digest(location: Path, digest: "hashlib._Hash") -> "hashlib._Hash":
    with location.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest
