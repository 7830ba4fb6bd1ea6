"""Where a benchmark keeps its runtime."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def kept_on_failure() -> Iterator[Path]:
    """A folder of this run's own. What failed keeps it: the logs and the database say why."""
    folder = Path(tempfile.mkdtemp(prefix="torpor-bench-"))
    try:
        yield folder
    except BaseException:
        sys.stderr.write(f"kept for a look: {folder}\n")
        raise
    shutil.rmtree(folder)
