"""Named SQL statements, read from a `.sql` file beside the Python that runs them.

A statement starts at `-- name: xyz` and ends before the next one; comment lines in between are its sentence.
"""

import re
from collections.abc import Mapping
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load(file: Path) -> Mapping[str, str]:
    """Every statement of `file` by name. Raises KeyError at use, OSError when the file is missing."""
    _, *parts = _NAME.split(file.read_text(encoding="utf-8"))
    return dict(zip(parts[::2], (text.strip() for text in parts[1::2]), strict=True))
