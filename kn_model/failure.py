"""How a command ends when it does not succeed: exit codes, and failures that say what, why and what to do next.

Raised anywhere below the commands; click turns it into the message on stderr and the exit code.
"""

import json
import sys
from enum import IntEnum
from typing import IO, Any

import click


class Exit(IntEnum):
    """The exit codes of `kn model`, stable for scripts and documented in `kn model --help`."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_LOGGED_IN = 3
    NOT_FOUND = 4
    NOT_RUNNING = 5
    REFUSED = 6
    TIMED_OUT = 7
    # 128 + SIGINT, as shells count.
    INTERRUPTED = 130


class Failure(click.ClickException):
    """What happened, why, and what to do next. `as_json` is set by commands that were asked for JSON."""

    def __init__(self, what: str, *, why: str = "", do: str = "", code: Exit = Exit.FAILED) -> None:
        super().__init__(what)
        self.why = why
        self.do = do
        self.code = code
        # click ends the process with this attribute; its stubs take it for a constant of the class.
        self.exit_code = int(code)  # type: ignore[misc]
        self.as_json = False

    def document(self) -> dict[str, Any]:
        """The failure for `--output json`."""
        return {"error": {"message": self.message, "detail": self.why, "next": self.do, "code": int(self.code)}}

    def show(self, file: IO[Any] | None = None) -> None:
        """Print to stderr, or to `file`."""
        if self.as_json:
            click.echo(json.dumps(self.document()), file=file or sys.stderr)
            return
        click.secho(f"Error: {self.message}", file=file or sys.stderr, fg="red")
        for line in (self.why, self.do):
            if line:
                click.echo(f"  {line}", file=file or sys.stderr)
