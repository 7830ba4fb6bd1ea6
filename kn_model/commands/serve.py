"""`kn model serve`."""

from typing import Any
from urllib.parse import quote

import click

from kn_model import rolling
from kn_model.client import Client
from kn_model.command import JSON, command
from kn_model.output import print_json, say
from kn_model.records import RolloutRecord, ServerDetailRecord, ServerRecord
from kn_model.serving import serve_body, serving_options

EXAMPLES = """
kn model serve SmolLM2-135M-Instruct
kn model serve SmolLM2-135M-Instruct --name tiny --max-model-len 2048 --memory 2048
kn model serve smollm2-135m-instruct --change --min 1
kn model serve smollm2-135m-instruct --change --max-model-len 4096
"""


@command("serve", examples=EXAMPLES)
@click.argument("model")
@click.option("--name", help="The server's name, part of its URL.  [default: from the model's name]")
@click.option(
    "--change", is_flag=True, help="MODEL is a server that exists: change it, all but its scale by a rollout."
)
@click.option("--wait/--no-wait", default=True, help="Wait until it is ready.", show_default=True)
@serving_options
def serve(
    model: str,
    name: str | None,
    change: bool,  # noqa: FBT001  # click's flag
    wait: bool,  # noqa: FBT001  # click's flag
    output: str,
    **serving: Any,
) -> None:
    """Serve MODEL, a name or uuid of a model that is available.

    Before anything is created the model's memory is computed from its files; what does not fit is refused with the
    numbers. A server sleeps when nobody calls and wakes on the next call.

    With --change a new scale holds at once. New memory, parameters, GPU or runtime of a server that serves begin a
    rollout: what it was serves on until the new revision has proved itself. That is not waited for.
    """
    from kn_model.session import connect

    client = connect()
    body = serve_body(serving)
    if change:
        path = quote(model, safe="")
        client.patch(f"/serve/{path}", body)
        changed: ServerDetailRecord = client.get(f"/status/{path}")
        if rollout := changed["rollout"]:
            _show_rollout(changed, rollout, output)
            return
        server: ServerRecord = changed
    else:
        named = {"name": name} if name else {}
        server = client.post("/serve", {"model": model, **named, **body})
    _show(_followed(client, server) if wait else server, output)


def _followed(client: Client, server: ServerRecord) -> ServerRecord:
    from kn_model.follow import follow_server

    return follow_server(client, server["uuid"], lambda seen: say(f"{seen['name']}: {seen['status']}"))


def _show(server: ServerRecord, output: str) -> None:
    if output == JSON:
        print_json(server)
    else:
        click.echo(f'{server["name"]} is {server["status"]}: kn model chat {server["name"]} "Hello"')


def _show_rollout(server: ServerDetailRecord, rollout: RolloutRecord, output: str) -> None:
    """The server is as ready as before, with what it was: saying so would say nothing about the change."""
    if output == JSON:
        print_json(server)
        return
    for line in rolling.lines(rollout):
        click.echo(line)
    click.echo(f"kn model rollout {server['name']} shows how it goes")


COMMAND = serve
