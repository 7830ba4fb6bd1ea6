"""`kn model logs`."""

import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click

from kn_model.command import JSON, command
from kn_model.failure import Exit, Failure
from kn_model.output import print_json

EXAMPLES = """
kn model logs                          what there are logs of
kn model logs download
kn model logs smollm2-135m-instruct -f
"""
_FOLLOW_S: Final = 0.3


@command("logs", examples=EXAMPLES)
@click.argument("name", required=False)
@click.option("-n", "--lines", type=int, default=100, help="Lines from the end.", show_default=True)
@click.option("-f", "--follow", is_flag=True, help="Go on as more is written, until Ctrl-C.")
def logs(name: str | None, lines: int, follow: bool, output: str) -> None:  # noqa: FBT001  # click's flag
    """Show the newest log of a function (auth, download, serve, status), a model's server, or the runtime's parts."""
    from kn_model import laptop

    folder = laptop.folder_of(os.environ, Path.cwd()) / "logs"
    if not folder.is_dir():
        raise _on_a_cluster(name or "NAME")
    if name is None:
        _list(names(folder), as_json=output == JSON)
        return
    path = newest(folder, name)
    if path is None:
        raise Failure(
            f"there is no log of {name!r}",
            why=f"There are logs of: {', '.join(names(folder)) or 'nothing yet'}.",
            code=Exit.NOT_FOUND,
        )
    if output == JSON:
        print_json({"name": name, "file": str(path), "lines": tail(path, lines)})
        return
    for line in tail(path, lines):
        click.echo(line)
    if follow:
        _follow(folder, name, path)


def names(folder: Path) -> list[str]:
    """What has a log: a service's folder with a file per instance, or a file of the runtime itself."""
    return sorted({entry.stem if entry.is_file() else entry.name for entry in folder.iterdir()})


def newest(folder: Path, name: str) -> Path | None:
    """The log that was written to last, under the name as given or as a server's name is made from a model's."""
    for candidate in (name, re.sub(r"[^a-z0-9-]+", "-", name.lower())):
        if "/" in candidate or candidate.startswith("."):
            continue
        files = [*(folder / candidate).rglob("*.log"), *folder.glob(f"{candidate}.log")]
        if files:
            return max(files, key=lambda file: file.stat().st_mtime)
    return None


def tail(path: Path, count: int) -> list[str]:
    """The last lines of a log."""
    return path.read_text(encoding="utf-8", errors="replace").splitlines()[-max(0, count) :]


def _list(found: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print_json({"logs": list(found)})
        return
    for name in found:
        click.echo(name)


def _follow(folder: Path, name: str, path: Path) -> None:
    try:
        for text in written(folder, name, path):
            click.echo(text, nl=False)
    except KeyboardInterrupt:
        return


def written(folder: Path, name: str, path: Path) -> Iterator[str]:
    """What is appended from now on; a new instance's log is taken up when it appears."""
    position = path.stat().st_size
    while True:
        with path.open(encoding="utf-8", errors="replace") as file:
            file.seek(position)
            if text := file.read():
                yield text
            position = file.tell()
        latest = newest(folder, name)
        if latest is not None and latest != path:
            path, position = latest, 0
        else:
            time.sleep(_FOLLOW_S)


def _on_a_cluster(name: str) -> Failure:
    return Failure(
        "there are no logs on this machine",
        why="No laptop runtime was started in this directory.",
        do=f"On a cluster: kubectl logs -n torpor -l serving.knative.dev/service={name} -c user-container --tail=100",
        code=Exit.NOT_FOUND,
    )


COMMAND = logs
