"""Which file names of a foreign repository may become keys in our bucket and paths on an engine's disk.

Pure; `plan` asks for every file. The cases are those behind real holes (Ollama CVE-2024-37032, BentoML CVE-2026-27905):
climbing and absolute paths, separators of other systems, characters that hide what a name is, and collisions.
"""

import unicodedata
from collections.abc import Iterable
from typing import Final

# An S3 key has 1024 bytes; the prefix takes under 50, and no file system takes a longer segment than 255.
MAX_PATH_BYTES: Final = 900
MAX_SEGMENT_BYTES: Final = 255
# Cc control, Cf format (bidirectional marks, zero width), Cs surrogates, Co private use, Cn unassigned, Zl and Zp breaks.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class UnsafeName(ValueError):
    """A file name that is refused; the message says why, with the name in ASCII."""


def check(path: str) -> None:
    """Raise UnsafeName unless `path` is a plain relative path with `/` between its segments."""
    reason = _reason(path)
    if reason:
        raise UnsafeName(f"the file name {ascii(path)[:120]} {reason}")


def check_collisions(paths: Iterable[str]) -> None:
    """Raise UnsafeName when two names would be one file where case or Unicode forms do not count."""
    seen: dict[str, str] = {}
    for path in paths:
        folded = unicodedata.normalize("NFKC", path).casefold()
        if folded in seen:
            raise UnsafeName(f"the file names {seen[folded]!a} and {path!a} differ only in case or in spelling")
        seen[folded] = path


def _reason(path: str) -> str:
    if any(unicodedata.category(char) in _HIDDEN for char in path):
        return "holds a control or invisible character"
    if "\\" in path:
        return "holds a backslash"
    if path.startswith("/"):
        return "is absolute"
    if len(path.encode()) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    return next(filter(None, map(_segment_reason, path.split("/"))), "")


def _segment_reason(segment: str) -> str:
    if segment in {"", ".", ".."}:
        return "holds an empty, '.' or '..' segment"
    if segment != segment.strip():
        return "holds a segment with a space at its edge"
    if len(segment.encode()) > MAX_SEGMENT_BYTES:
        return f"holds a segment longer than {MAX_SEGMENT_BYTES} bytes"
    return ""
