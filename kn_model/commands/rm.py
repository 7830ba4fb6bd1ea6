"""`kn model rm`."""

from urllib.parse import quote

import click

from kn_model.client import Client
from kn_model.command import JSON, command
from kn_model.failure import Exit, Failure
from kn_model.output import print_json
from kn_model.records import ModelRecord, ServerRecord

EXAMPLES = """
kn model rm SmolLM2-135M-Instruct            the model; refused while it is served
kn model rm smollm2-135m-instruct --server   the server alone; the model stays
kn model rm SmolLM2-135M-Instruct --all      the server, then the model
"""


@command("rm", examples=EXAMPLES)
@click.argument("name")
@click.option("--server", "server_only", is_flag=True, help="Stop serving and keep the model.")
@click.option("--all", "everything", is_flag=True, help="Stop serving, then remove the model.")
def remove(name: str, server_only: bool, everything: bool, output: str) -> None:  # noqa: FBT001  # click's flags
    """Remove the model NAME with its files, its server (--server), or both (--all)."""
    from kn_model.find import find_model, find_server
    from kn_model.session import connect

    if server_only and everything:
        raise click.UsageError("--server and --all exclude each other")
    client = connect()
    removed: dict[str, str] = {}
    if server_only:
        removed["server"] = _remove_server(client, find_server(client, name))
    else:
        model = find_model(client, name)
        if model["server"] is not None:
            _require_all(model, model["server"], everything=everything)
            removed["server"] = _remove_server(client, model["server"])
        removed["model"] = _remove_model(client, model)
    if output == JSON:
        print_json({"removed": removed})
        return
    for kind, gone in removed.items():
        click.echo(f"Removed the {kind} {gone}.")


def _require_all(model: ModelRecord, server: ServerRecord, *, everything: bool) -> None:
    if not everything:
        raise Failure(
            f"{model['name']} is being served",
            why=f"The server {server['name']} ({server['status']}) uses it.",
            do=f"Stop serving it: kn model rm {server['name']} --server. Or remove both: kn model rm "
            f"{model['name']} --all.",
            code=Exit.REFUSED,
        )


def _remove_server(client: Client, server: ServerRecord) -> str:
    from kn_model.follow import follow_removal

    client.delete(f"/serve/{quote(server['name'], safe='')}")
    follow_removal(client, f"/status/{server['uuid']}")
    return server["name"]


def _remove_model(client: Client, model: ModelRecord) -> str:
    client.delete(f"/models/{quote(model['uuid'], safe='')}")
    return model["name"]


COMMAND = remove
