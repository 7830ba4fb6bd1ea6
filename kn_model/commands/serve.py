"""`kn model serve`."""

from typing import Any
from urllib.parse import quote

import click

from kn_model.command import JSON, command
from kn_model.output import print_json, say
from kn_model.records import ServerRecord
from kn_model.serving import serve_body, serving_options

EXAMPLES = """
kn model serve SmolLM2-135M-Instruct
kn model serve SmolLM2-135M-Instruct --name tiny --max-model-len 2048 --memory 2048
kn model serve smollm2-135m-instruct --change --min 1
"""


@command("serve", examples=EXAMPLES)
@click.argument("model")
@click.option("--name", help="The server's name, part of its URL.  [default: from the model's name]")
@click.option("--change", is_flag=True, help="MODEL is a server that exists: change its scale, memory or parameters.")
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
    """
    from kn_model.follow import follow_server
    from kn_model.session import connect

    client = connect()
    body = serve_body(serving)
    server: ServerRecord
    if change:
        server = client.patch(f"/serve/{quote(model, safe='')}", body)
    else:
        named = {"name": name} if name else {}
        server = client.post("/serve", {"model": model, **named, **body})
    if wait:
        server = follow_server(client, server["uuid"], lambda seen: say(f"{seen['name']}: {seen['status']}"))
    if output == JSON:
        print_json(server)
    else:
        click.echo(f'{server["name"]} is {server["status"]}: kn model chat {server["name"]} "Hello"')


COMMAND = serve
