"""`kn model show`."""

from collections.abc import Iterator

import click

from kn_model.command import JSON, command
from kn_model.commands.ls import state
from kn_model.output import age, duration, print_json, rate, size, table
from kn_model.records import FileRecord, ModelRecord, ServerRecord, SignatureRecord


@command("show", examples="kn model show SmolLM2-135M-Instruct\nkn model show smollm2-135m-instruct -o json")
@click.argument("name")
def show(name: str, output: str) -> None:
    """Show one model with its files and its server; NAME is a model, its uuid, or a server."""
    from kn_model.find import find_model
    from kn_model.session import connect

    model = find_model(connect(), name)
    if output == JSON:
        print_json(model)
        return
    for line in lines(model):
        click.echo(line)


def lines(model: ModelRecord) -> Iterator[str]:
    """The model as text."""
    yield f"Name:      {model['name']}"
    yield f"UUID:      {model['uuid']}"
    yield f"Source:    {model['source']}"
    yield f"Revision:  {model['revision'] or '-'}"
    yield f"Status:    {state(model)}"
    if model["error"]:
        yield f"Error:     {model['error']}"
    yield f"Size:      {size(model['bytes_done'])} of {size(model['bytes_total'])}"
    stored = model.get("storage")
    if stored and stored["shared_bytes"]:
        yield f"Storage:   {size(stored['unique_bytes'])} its own, {size(stored['shared_bytes'])} shared with other models"
    signature = model.get("signature")
    if signature:
        yield f"Signature: {signature['outcome']}{_why(signature)}"
    if model["status"] == "downloading":
        yield f"Rate:      {rate(model['rate_bps'])}, {duration(model['eta_s'])} left"
    yield f"Age:       {age(model['created_at'])}"
    yield from _server_lines(model["server"])
    if model["files"]:
        yield ""
        header = ("FILE", "STATUS", "SIZE", "DONE", "RATE", "LEFT", "SHA-256")
        yield from table(header, [_row(file) for file in model["files"]])
        yield from (f"{file['path']}: {file['error']}" for file in model["files"] if file["error"])


def _why(signature: SignatureRecord) -> str:
    if signature["key"]:
        return f" (key {signature['key'][:12]})"
    return f" ({signature['detail']})" if signature["detail"] else ""


def _server_lines(server: ServerRecord | None) -> Iterator[str]:
    if server is None:
        yield "Server:    none"
        return
    yield f"Server:    {server['name']} ({server['status']})"
    yield f"URL:       {server['gateway_url'] or server['endpoint'] or '-'}"
    if server["error"]:
        yield f"Error:     {server['error']}"


def _row(file: FileRecord) -> tuple[str, ...]:
    return (
        file["path"],
        file["status"],
        size(file["size"]),
        size(file["bytes_done"]),
        rate(file["rate_bps"]),
        duration(file["eta_s"]) if file["status"] == "transferring" else "-",
        (file["sha256"] or "-")[:12],
    )


COMMAND = show
