"""One row of the benchmark table: both sides measured in the same run, and the aim that the issue of performance set."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """what, then both sides as text with their unit, the figure that the aim is about, and whether it was reached."""

    what: str
    ours: str
    baseline: str
    figure: str
    aim: str
    reached: bool


HEADER = ("what", "ours", "baseline", "figure", "aim", "reached")


def markdown(rows: Sequence[Row]) -> str:
    """The table as Markdown."""
    lines = ["| " + " | ".join(HEADER) + " |", "| " + " | ".join("---" for _ in HEADER) + " |"]
    lines += [
        f"| {r.what} | {r.ours} | {r.baseline} | {r.figure} | {r.aim} | {'yes' if r.reached else 'no'} |" for r in rows
    ]
    return "\n".join(lines)
