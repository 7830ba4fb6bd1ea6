"""What a piece of code logs, as the lines that a function writes: formatted at once, while its context is there."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from functions.kit.log import JsonFormatter


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@contextmanager
def log_lines(name: str = "torpor") -> Iterator[list[dict[str, Any]]]:
    """The lines of this logger and those below it, from INFO on, while the block runs."""
    logger, handler = logging.getLogger(name), _Kept()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
