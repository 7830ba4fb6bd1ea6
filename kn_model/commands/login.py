"""`kn model login`."""

import os
import sys
from pathlib import Path

import click

from kn_model.command import JSON, command
from kn_model.context import Context
from kn_model.failure import Exit, Failure
from kn_model.output import print_json

EXAMPLES = """
kn model login                                              the laptop runtime of this directory
kn model login https://torpor.example.com --username ada
pass torpor | kn model login https://torpor.example.com --username ada --password-stdin
"""


@command("login", examples=EXAMPLES)
@click.argument("url", required=False)
@click.option("--username", help="Who logs in.  [default: the laptop runtime's administrator]")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of stdin.")
def login(url: str | None, username: str | None, password_stdin: bool, output: str) -> None:  # noqa: FBT001  # click's
    """Log in and keep the token.

    Without URL and --username it logs in to the laptop runtime that runs in this directory, as the administrator that
    the runtime generated. A token lasts an hour; on the laptop it is renewed without asking.
    """
    found = _on_laptop() if not url and not username else _with_password(url, username, from_stdin=password_stdin)
    if output == JSON:
        print_json({"url": found.url, "username": found.username})
    else:
        click.echo(f"Logged in to {found.url} as {found.username}.")


def _on_laptop() -> Context:
    from kn_model import laptop, session

    return session.log_in_to_laptop(laptop.running(laptop.folder_of(os.environ, Path.cwd())))


def _with_password(url: str | None, username: str | None, *, from_stdin: bool) -> Context:
    from kn_model import laptop, session

    if url is None:
        url = laptop.running(laptop.folder_of(os.environ, Path.cwd())).url
    if not url.startswith(("http://", "https://")):
        raise click.UsageError(f"{url!r} is not the URL of a front door: it starts with http:// or https://")
    username = username or click.prompt("Username", err=True)
    return session.log_in(url.rstrip("/"), username, _password(username, from_stdin=from_stdin))


def _password(username: str, *, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise Failure(
            "no password", why="stdin is not a terminal.", do="Send it with --password-stdin.", code=Exit.USAGE
        )
    entered: str = click.prompt(f"Password of {username}", hide_input=True, err=True)
    return entered


COMMAND = login
