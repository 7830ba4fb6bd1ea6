"""The states of a model and of a file, as tables: what is not in a table cannot happen.

`queries.sql` takes the states that allow an event as an argument (`allowing`), so that a row changes only along these
edges, and `python -m functions.download.states` prints the diagrams that stand in ARCHITECTURE.md.
"""

from collections.abc import Mapping
from typing import Final

Table = Mapping[tuple[str, str], str]

MODEL: Final[Table] = {
    ("downloading", "published"): "available",
    ("downloading", "refused"): "failed",
    ("downloading", "cancelled"): "failed",
    ("failed", "retried"): "downloading",
    ("downloading", "deleted"): "deleted",
    ("available", "deleted"): "deleted",
    ("failed", "deleted"): "deleted",
}

FILE: Final[Table] = {
    ("pending", "claimed"): "transferring",
    ("transferring", "claimed"): "transferring",
    ("transferring", "verified"): "verified",
    ("transferring", "restarted"): "pending",
    ("transferring", "abandoned"): "pending",
    ("pending", "refused"): "failed",
    ("transferring", "refused"): "failed",
    ("failed", "retried"): "pending",
}


def allowing(table: Table, event: str) -> list[str]:
    """The states in which `event` can happen. Raises KeyError for an event that the table does not know."""
    states = [state for (state, name) in table if name == event]
    if not states:
        raise KeyError(event)
    return states


def target(table: Table, event: str) -> str:
    """The state after `event`: the same from wherever it happens. Raises KeyError."""
    targets = {after for (_, name), after in table.items() if name == event}
    if len(targets) != 1:
        raise KeyError(event)
    return targets.pop()


def mermaid(table: Table) -> str:
    """The table as a Mermaid state diagram."""
    edges = [f"    {state} --> {after}: {event}" for (state, event), after in table.items()]
    return "\n".join(["stateDiagram-v2", *edges])


if __name__ == "__main__":
    import sys

    sys.stdout.write(f"{mermaid(MODEL)}\n\n{mermaid(FILE)}\n")
