"""A pull as one watches it: bars on a terminal, plain lines elsewhere. Fed with the record from GET /models/{uuid}."""

import time
from types import TracebackType
from typing import Any, Final, Protocol, Self

from kn_model.output import duration, rate, say, size
from kn_model.records import FileRecord, ModelRecord

# Log files and CI keep every line: one for a change of state, else one in three seconds.
LINE_EVERY_S: Final = 3.0


class Display(Protocol):
    """Shows a model's record whenever it was read; a context manager that tidies up the screen."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def update(self, model: ModelRecord) -> None:
        """Show this state."""
        ...


def line(model: ModelRecord) -> str:
    """The state of a pull in one line."""
    files = model["files"] or []
    trouble = f": {model['error']}" if model["error"] else ""
    if not files:
        return f"{model['name']}: {model['status']}{trouble}"
    verified = sum(file["status"] == "verified" for file in files)
    done = f"{size(model['bytes_done'])} of {size(model['bytes_total'])}"
    speed = f", {rate(model['rate_bps'])}, {duration(model['eta_s'])} left" if model["rate_bps"] else ""
    return f"{model['name']}: {model['status']}, {verified} of {len(files)} files verified, {done}{speed}{trouble}"


class Lines:
    """For pipes, logs and CI: a line when the status changes, and one now and then while bytes arrive."""

    def __init__(self) -> None:
        self._last = ""
        self._status = ""
        self._said_at = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, model: ModelRecord) -> None:
        """Print a line when it is due and says something new."""
        text, now = line(model), time.monotonic()
        due = now - self._said_at >= LINE_EVERY_S or model["status"] != self._status
        if due and text != self._last:
            self._last, self._status, self._said_at = text, model["status"], now
            say(text)


class Bars:
    """For terminals: a bar per file with bytes, rate and time left, and one for the whole model."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = [
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[note]}"),
        ]
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._tasks: dict[str, Any] = {}
        self._trouble: str | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, model: ModelRecord) -> None:
        """Move the bars."""
        files = model["files"] or []
        if model["error"] and model["error"] != self._trouble:
            self._progress.console.print(f"{model['name']}: {model['error']}")
        self._trouble = model["error"]
        for file in files:
            self._show(file["path"], file["bytes_done"], file["size"], note(file))
        if len(files) > 1:
            speed = f"{rate(model['rate_bps'])}  {duration(model['eta_s'])} left" if model["rate_bps"] else ""
            self._show("total", model["bytes_done"], model["bytes_total"], speed)

    def _show(self, name: str, done: int, total: int | None, text: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, note="", total=total)
        self._progress.update(self._tasks[name], completed=done, total=total, note=f"{size(done)}  {text}")


def note(file: FileRecord) -> str:
    """What stands beside a file's bar."""
    if file["status"] == "transferring":
        return f"{rate(file['rate_bps'])}  {duration(file['eta_s'])} left"
    return file["error"] or file["status"]


def display() -> Display:
    """Bars where stderr is a terminal, lines elsewhere."""
    import sys

    return Bars() if sys.stderr.isatty() else Lines()
