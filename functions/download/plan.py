"""Which files of a repository make the model: pure selection, by patterns or by a default that holds one weight format.

Formats that run code when loaded (pickle and its disguises, Python) come only when an include pattern names their
suffix: scanners for them are bypassed again and again (picklescan CVE-2025-1889, -1945, -10155, -10156).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Final

from functions.download import names

TEXTS: Final = ("*.json", "*.txt", "*.jinja", "*.model", "*.tiktoken")
CODE_SUFFIXES: Final = frozenset(
    {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".h5", ".keras", ".msgpack", ".py",
     ".pyc", ".so", ".sh", ".zip", ".tar", ".gz", ".7z", ".nemo", ".mar", ".exe", ".dll", ".ipynb"}
)  # fmt: skip
# Far above any real repository; a listing of this size is an attack on the database.
MAX_FILES: Final = 10_000
# The level most people run: small, with little loss. Other levels are asked for.
GGUF_LEVEL: Final = "Q4_K_M"

_LEVEL: Final = re.compile(r"(?:^|[-._])((?:I?Q\d(?:_[A-Z0-9]+)*)|BF16|F16|F32)(?=[-.])", re.IGNORECASE)
_BESIDE: Final = re.compile(r"(?:^|/)(?:mmproj|imatrix)[^/]*$", re.IGNORECASE)


class Unplannable(ValueError):
    """No model can be made of these files; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file at the source: sizes in bytes, digests in hex as far as the source tells them."""

    path: str
    size: int
    sha256: str | None = None
    git_oid: str | None = None


def select(
    files: Sequence[RemoteFile], include: Sequence[str] = (), exclude: Sequence[str] = (), level: str | None = None
) -> list[RemoteFile]:
    """The files to fetch, by path. level: the GGUF level asked for, which goes before safetensors then.

    Raises Unplannable, UnsafeName (for chosen files: others never reach the bucket).
    """
    chosen = _included(files, include) if include else _default(files, level)
    chosen = [file for file in chosen if not any(fnmatchcase(file.path, pattern) for pattern in exclude)]
    if not chosen:
        raise Unplannable("no file is left to fetch: compare include and exclude with the repository's files")
    if len(chosen) > MAX_FILES:
        raise Unplannable(f"{len(chosen)} files are chosen and {MAX_FILES} are allowed; narrow it with include")
    for file in chosen:
        names.check(file.path)
    names.check_collisions(file.path for file in chosen)
    return sorted(chosen, key=lambda file: file.path)


def quant_level(path: str) -> str | None:
    """The quantisation level in a GGUF file's name, in upper case: `model-Q4_K_M.gguf` -> `Q4_K_M`."""
    match = _LEVEL.search(PurePosixPath(path).name)
    return match.group(1).upper() if match and path.endswith(".gguf") else None


def runs_code(path: str) -> bool:
    """Whether loading a file of this kind may run code that it carries."""
    return PurePosixPath(path).suffix.lower() in CODE_SUFFIXES


def _included(files: Sequence[RemoteFile], include: Sequence[str]) -> list[RemoteFile]:
    return [file for file in files if any(_names(pattern, file.path) for pattern in include)]


def _names(pattern: str, path: str) -> bool:
    """A pattern picks a file that can run code only when it ends in that suffix itself: `*` does not."""
    if not fnmatchcase(path, pattern):
        return False
    return not runs_code(path) or pattern.lower().endswith(PurePosixPath(path).suffix.lower())


def _default(files: Sequence[RemoteFile], level: str | None) -> list[RemoteFile]:
    weights = _gguf(files, level) if level else _safetensors(files) or _gguf(files, level)
    if not weights:
        raise Unplannable("the repository holds no GGUF weights" if level else _no_weights(files))
    texts = [file for file in files if any(fnmatchcase(file.path, pattern) for pattern in TEXTS)]
    return [*weights, *texts]


def _safetensors(files: Iterable[RemoteFile]) -> list[RemoteFile]:
    found = [file for file in files if file.path.endswith(".safetensors")]
    # Some repositories carry the same weights twice: sharded for transformers, and in one piece for the maker's own code.
    doubled = [file for file in found if not PurePosixPath(file.path).name.startswith("consolidated")]
    return doubled or found


def _gguf(files: Iterable[RemoteFile], asked: str | None) -> list[RemoteFile]:
    # Projectors of images and matrices of importance lie beside the weights and are none.
    found = [file for file in files if file.path.endswith(".gguf") and not _BESIDE.search(file.path)]
    levels = sorted({quant_level(file.path) or file.path for file in found})
    wanted = asked.upper() if asked else levels[0] if len(levels) == 1 else GGUF_LEVEL
    chosen = [file for file in found if (quant_level(file.path) or file.path) == wanted]
    if found and not chosen:
        raise Unplannable(
            f"the repository holds the GGUF levels {', '.join(levels)[:400]} and not {wanted}: ask for one with "
            "quant_level, or pick files with include"
        )
    return chosen


def _no_weights(files: Iterable[RemoteFile]) -> str:
    risky = sorted(file.path for file in files if runs_code(file.path))
    if not risky:
        return "the repository holds no safetensors and no GGUF weights"
    shown = ", ".join(risky[:5]) + (" ..." if len(risky) > 5 else "")  # noqa: PLR2004  # enough to recognise them
    return (
        f"the repository holds no safetensors and no GGUF weights, only files that can run code when loaded ({shown}): "
        "they are refused unless include names them"
    )
