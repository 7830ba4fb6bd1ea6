"""What commands print: JSON, tables, and numbers as people read them. Results go to stdout, everything else to stderr."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

_KILO: Final = 1000.0
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400


def say(line: str) -> None:
    """A line for the person who waits: on stderr, so that stdout stays the result."""
    click.echo(line, err=True)


def print_json(value: Any) -> None:
    """The result for `--output json`."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their content, like kubectl's."""
    for line in table(header, rows):
        click.echo(line)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def size(count: float | None) -> str:
    """Bytes with a decimal unit, as hubs and disks count: 269.1 MB."""
    if count is None:
        return "-"
    for unit in ("B", "kB", "MB", "GB"):
        if count < _KILO:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KILO
    return f"{count:.1f} TB"


def rate(bytes_per_second: float) -> str:
    """Bytes per second, a dash when nothing moves."""
    return f"{size(bytes_per_second)}/s" if bytes_per_second > 0 else "-"


def duration(seconds: float | None) -> str:
    """42 s, 3 min 20 s, 2 h 5 min, 3 d; a dash when nobody knows."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d"


def age(instant: str | None, now: datetime | None = None) -> str:
    """How long ago an RFC 3339 time was."""
    if not instant:
        return "-"
    elapsed = (now or datetime.now(UTC)) - datetime.fromisoformat(instant)
    return duration(max(0.0, elapsed.total_seconds()))
