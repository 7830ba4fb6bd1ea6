"""`kn model down`."""

import os
from pathlib import Path

import click

from kn_model.command import JSON, command
from kn_model.failure import Failure
from kn_model.output import print_json, say


@command("down", examples="kn model down\nkn model down --dir /srv/torpor")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="The runtime's folder.  [default: .torpor]")
def down(folder: Path | None, output: str) -> None:
    """Stop the laptop runtime, in order: models and functions, then S3 and PostgreSQL. Nothing stored is lost."""
    from kn_model import laptop
    from kn_model.local import state
    from kn_model.waiting import announced

    folder = folder or laptop.folder_of(os.environ, Path.cwd())
    try:
        with announced("stopping", say):
            stopped = state.stop(folder)
    except state.FolderError as error:
        raise Failure("the laptop runtime could not be stopped", why=str(error)) from error
    if output == JSON:
        print_json({"stopped": stopped, "dir": str(folder)})
    else:
        click.echo(f"Stopped the runtime in {folder}." if stopped else f"Nothing runs in {folder}.")


COMMAND = down
