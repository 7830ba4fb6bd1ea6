"""`kn model gc`."""

from typing import TypedDict

import click

from kn_model.command import JSON, command
from kn_model.output import print_json, size

EXAMPLES = """
kn model gc --dry-run        what would go, and how many bytes
kn model gc                  what nobody has referred to for the grace period
kn model gc --now            all that no model refers to
"""


class Collection(TypedDict):
    """The answer of POST /models/gc."""

    dry_run: bool
    blobs: int
    bytes: int
    digests: list[str]


@command("gc", examples=EXAMPLES)
@click.option("--dry-run", is_flag=True, help="Show what would go, and change nothing.")
@click.option("--now", is_flag=True, help="Do not wait for the grace period.")
def collect(dry_run: bool, now: bool, output: str) -> None:  # noqa: FBT001  # click's flags
    """Free the space of content that no model refers to. A tick does the same in its time."""
    from kn_model.session import connect

    found: Collection = connect().post("/models/gc", {"dry_run": dry_run, "now": now})
    if output == JSON:
        print_json(found)
        return
    if dry_run:
        for digest in found["digests"]:
            click.echo(f"sha256:{digest}")
    word = "would go" if dry_run else "gone"
    click.echo(f"{found['blobs']} blobs, {size(found['bytes'])}: {word}.")


COMMAND = collect
