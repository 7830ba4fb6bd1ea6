"""What each stage of the demo took: measured as it runs, printed as a table at the end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from kn_model.output import table


@dataclass(frozen=True, slots=True)
class Stage:
    """One measured stage: seconds, and what was seen in it."""

    name: str
    seconds: float
    seen: str


@dataclass(slots=True)
class Note:
    """What a running stage wants to say in the table's last column."""

    seen: str = ""


@dataclass(slots=True)
class Stages:
    """The stages so far, in order."""

    done: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[Note]:
        """Measure the block; it is kept also when it fails, so that the table shows how far things went."""
        started, note = time.monotonic(), Note()
        try:
            yield note
        except BaseException:
            note.seen = "FAILED"
            raise
        finally:
            self.done.append(Stage(name, time.monotonic() - started, note.seen))

    def lines(self) -> list[str]:
        """The table, with the sum of all stages."""
        rows = [(stage.name, f"{stage.seconds:.1f}", stage.seen) for stage in self.done]
        total = sum(stage.seconds for stage in self.done)
        return table(("STAGE", "SECONDS", "SEEN"), [*rows, ("all", f"{total:.1f}", "")])
