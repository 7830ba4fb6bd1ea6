"""`kn model version`."""

import platform
from importlib.metadata import PackageNotFoundError, version

import click

from kn_model.command import JSON, command
from kn_model.output import print_json, say

PACKAGE = "torpor"


@command("version", examples="kn model version -o json")
def show_version(output: str) -> None:
    """Show the version of this program and of the Python that runs it."""
    try:
        found = version(PACKAGE)
    except PackageNotFoundError:
        say("torpor is not installed as a package; the version is unknown")
        found = "unknown"
    if output == JSON:
        print_json({"version": found, "python": platform.python_version()})
    else:
        click.echo(f"kn model {found} (Python {platform.python_version()})")


COMMAND = show_version
