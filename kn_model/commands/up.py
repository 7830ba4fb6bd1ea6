"""`kn model up`."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

import click

from kn_model.command import JSON, command
from kn_model.failure import Exit, Failure
from kn_model.output import print_json, say

if TYPE_CHECKING:
    from kn_model.local.state import Runtime

EXAMPLES = """
kn model up                                   in the foreground, until Ctrl-C
kn model up --detach                          in the background; returns when it is ready
kn model up --set hf-endpoint=https://hub.example.com --port 9000
"""
_READY_WITHIN_S: Final = 300.0
_POLL_S: Final = 0.1


@command("up", examples=EXAMPLES)
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Where it keeps its files.  [default: .torpor]")
@click.option("--port", type=click.IntRange(1, 65535), help="The front door's port.  [default: 8780]")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A value of ConfigMap torpor; repeatable.")
@click.option("--manifests", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Another overlay.")
@click.option("-d", "--detach", is_flag=True, help="Run in the background and return when it is ready.")
def up(  # noqa: PLR0913, PLR0917  # one argument per option
    folder: Path | None,
    port: int | None,
    settings: tuple[str, ...],
    manifests: Path | None,
    detach: bool,  # noqa: FBT001  # click's flag
    output: str,
) -> None:
    """Start Torpor on this machine: PostgreSQL, S3, the functions, and what wakes them.

    It listens on loopback only and keeps everything in one folder; the next `up` there goes on where this one stopped.
    """
    from kn_model import laptop

    values = pairs(settings)
    folder = (folder or laptop.folder_of(os.environ, Path.cwd())).absolute()
    if detach:
        _detached(folder, _arguments(folder, port, settings, manifests), as_json=output == JSON)
    else:
        sys.exit(_foreground(folder, port, manifests, values))


def pairs(settings: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE pairs. Raises UsageError for what is none."""
    found = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not key or not equals:
            raise click.UsageError(f"--set {setting!r} is not KEY=VALUE")
        found[key] = value
    return found


def _foreground(folder: Path, port: int | None, manifests: Path | None, values: Mapping[str, str]) -> int:
    from kn_model.local.supervisor import Options, run

    options = Options(folder, values=values, environ=dict(os.environ))
    options = replace(options, port=port) if port else options
    return run(replace(options, manifests=manifests) if manifests else options)


def _arguments(folder: Path, port: int | None, settings: Sequence[str], manifests: Path | None) -> list[str]:
    """The command line of the same `up` in the foreground."""
    arguments = ["--dir", str(folder)]
    arguments += ["--port", str(port)] if port else []
    arguments += ["--manifests", str(manifests.absolute())] if manifests else []
    return arguments + [text for setting in settings for text in ("--set", setting)]


def _detached(folder: Path, arguments: Sequence[str], *, as_json: bool) -> None:
    from kn_model.local import state

    if state.is_held(folder):
        raise Failure(
            "a runtime already runs here",
            why=f"It runs in {folder}.",
            do="Use it, or end it first: kn model down",
            code=Exit.REFUSED,
        )
    log = folder / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    process = _start(log, arguments)
    found = _wait(folder, process, log)
    if as_json:
        print_json({"url": found.url, "kube_url": found.kube_url, "pid": found.pid, "dir": str(folder)})
    else:
        click.echo(f"Torpor runs at {found.url}. Next: kn model login. Its log: {log}")


def _start(log: Path, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """`kn model up` in a session of its own, which a closed terminal does not end."""
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "kn_model", "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def _wait(folder: Path, process: subprocess.Popen[bytes], log: Path) -> "Runtime":
    """Until it is ready; what it says in the meantime is said here. Raises Failure when it ended or takes too long."""
    from kn_model.local import state

    deadline = time.monotonic() + _READY_WITHIN_S
    with log.open(encoding="utf-8", errors="replace") as lines:
        while time.monotonic() < deadline:
            _pass_on(lines)
            if found := state.read(folder):
                return found
            if process.poll() is not None:
                _pass_on(lines)
                raise Failure("the runtime did not start", do=f"All of its output is in {log}.")
            time.sleep(_POLL_S)
    raise Failure("the runtime is not ready yet", do=f"It goes on; see {log}.", code=Exit.TIMED_OUT)


def _pass_on(lines: TextIO) -> None:
    for line in lines:
        say(line.rstrip("\n"))


COMMAND = up
