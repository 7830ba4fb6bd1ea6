"""What happened in a run, for people to read and for two runs of one seed to be compared. Off, it costs nothing."""

import contextlib
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TextIO

from tests.simulation.loop import here

if TYPE_CHECKING:
    from tests.simulation.verdict import Record


class Trace:
    """Writes lines with the virtual time when it is `on`; the product's own log lines are among them."""

    def __init__(self, out: TextIO | None = None) -> None:
        self.on = out is not None
        self._out = out or sys.stdout
        self.clock: Callable[[], float] = lambda: 0.0
        self.counts: Counter[str] = Counter()

    def note(self, what: str, text: str) -> None:
        """One line; how many of each there were is counted in any case."""
        self.counts[what] += 1
        if self.on:
            self._out.write(f"{self.clock():9.3f}  {what:9} {text}\n")

    @contextlib.contextmanager
    def listening(self, record: "Record") -> Iterator[None]:
        """The product's logs come here for the length of the block; a logged exception is a bug."""
        handler = _Handler(self, record)
        loggers = [logging.getLogger(name) for name in ("torpor", "kn_model", "asyncio")]
        before = [(each.level, each.propagate) for each in loggers]
        for each in loggers:
            each.addHandler(handler)
            each.propagate = False
            each.setLevel(logging.INFO if self.on else logging.ERROR)
        try:
            yield
        finally:
            for each, (level, propagate) in zip(loggers, before, strict=True):
                each.removeHandler(handler)
                each.setLevel(level)
                each.propagate = propagate


class _Handler(logging.Handler):
    def __init__(self, trace: Trace, record: "Record") -> None:
        super().__init__()
        self._trace = trace
        self._record = record

    def emit(self, record: logging.LogRecord) -> None:
        who = here()
        text = f"{who.name if who else 'world'}: {record.getMessage()}"
        self._trace.note("log", text)
        if record.exc_info and record.exc_info[1] is not None:
            self._record.bug(f"{text}: {record.exc_info[1]!r}")
