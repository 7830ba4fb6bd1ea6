"""State machines as tables: what is absent cannot happen. Pure.

Each record kind has one `Machine` (`functions/<name>/*states.py`); docs/states.md is drawn from them. Events are hints
that come late, twice and out of order, so a cause that the table does not have in the record's state changes nothing:
`functions.kit.history` writes it down and the event is acknowledged.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

S = TypeVar("S", bound=StrEnum)
C = TypeVar("C", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Machine(Generic[S, C]):
    """One record kind. Its states are listed in the order in which a record usually passes them.

    kind: the word for it in event_log. title: for people.
    start: the state of a new record. ends: nothing leads out of these.
    back: the causes that lead to an earlier state on purpose, each with the reason; no other may.
    table: (state, cause) -> state.
    """

    kind: str
    title: str
    start: S
    ends: frozenset[S]
    back: Mapping[C, str]
    table: Mapping[tuple[S, C], S]

    def after(self, state: S, cause: C) -> S | None:
        """The next state, or None when `cause` cannot happen in `state`."""
        return self.table.get((state, cause))

    def allowing(self, cause: C) -> list[S]:
        """The states in which `cause` can happen: what an UPDATE asks for. Raises KeyError when there is none."""
        states = [state for (state, name) in self.table if name == cause]
        if not states:
            raise KeyError(cause)
        return states

    def target(self, cause: C) -> S:
        """The state after `cause`, for causes that lead to the same one from everywhere. Raises KeyError for others."""
        targets = {after for (_, name), after in self.table.items() if name == cause}
        if len(targets) != 1:
            raise KeyError(cause)
        return targets.pop()

    def is_late(self, state: str, cause: str) -> bool:
        """Whether a cause that cannot happen is merely late: the record has ended, or is where it leads already."""
        return state in self.ends or state in {after for (_, name), after in self.table.items() if name == cause}

    def mermaid(self) -> str:
        """The table as a Mermaid state diagram; several causes of one arrow share it."""
        arrows: dict[tuple[S, S], list[str]] = {}
        for (state, cause), after in self.table.items():
            arrows.setdefault((state, after), []).append(cause)
        edges = [f"    {state} --> {after}: {', '.join(causes)}" for (state, after), causes in arrows.items()]
        ends = [f"    {state} --> [*]" for state in sorted(self.ends)]
        return "\n".join(["stateDiagram-v2", f"    [*] --> {self.start}", *edges, *ends])
