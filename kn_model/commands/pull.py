"""`kn model pull`."""

import re
from typing import Any, Final

import click

from kn_model.client import Client
from kn_model.command import JSON, command
from kn_model.failure import Exit, Failure
from kn_model.output import print_json, say, size
from kn_model.records import ModelRecord, ServerRecord
from kn_model.serving import serve_body, serving_options

EXAMPLES = """
kn model pull hf://HuggingFaceTB/SmolLM2-135M-Instruct
kn model pull HuggingFaceTB/SmolLM2-135M-Instruct --name tiny --max-model-len 2048
kn model pull hf://owner/name@v1.2 --include '*.safetensors' --include '*.json' --no-serve
kn model pull quant+https://quants.example.com/tiny --quant-level Q8_0
kn model pull hf://owner/name --no-wait -o json
"""
# The hub's own form of a repository's name, with an optional revision.
_SHORT: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")


@command("pull", examples=EXAMPLES)
@click.argument("source")
@click.option("--name", help="What to call it here.  [default: the repository's name]")
@click.option("--include", multiple=True, metavar="PATTERN", help="Only files that match; repeatable.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="No files that match; repeatable.")
@click.option("--quant-level", metavar="LEVEL", help="The GGUF level or quantised variant to take, such as Q8_0.")
@click.option("--serve/--no-serve", default=True, help="Serve it as soon as it is verified.", show_default=True)
@click.option("--wait/--no-wait", default=True, help="Wait until it is served (or fetched).", show_default=True)
@serving_options
def pull(  # noqa: PLR0913, PLR0917  # one argument per option
    source: str,
    name: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    quant_level: str | None,
    serve: bool,  # noqa: FBT001  # click's flag
    wait: bool,  # noqa: FBT001  # click's flag
    output: str,
    **serving: Any,
) -> None:
    """Fetch SOURCE into the model store, verify every file, and serve it.

    SOURCE is hf://owner/name[@revision], owner/name for short, https://... for a single file, quant+https://... for the
    catalogue of a quant service, s3://bucket/prefix, mlflow://name@alias, or on a laptop file:///path. The work goes on
    without this command: Ctrl-C only stops watching, and pulling the same again finds the same model.
    """
    from kn_model.session import connect

    body: dict[str, Any] = {"source": address(source), "serve": (serve_body(serving) or True) if serve else False}
    body |= {"name": name} if name else {}
    body |= {"include": list(include)} if include else {}
    body |= {"exclude": list(exclude)} if exclude else {}
    body |= {"quant_level": quant_level} if quant_level else {}
    client = connect()
    model: ModelRecord = client.post("/models", body)
    server = _watch(client, model["uuid"], serve=serve) if wait else None
    model = client.get(f"/models/{model['uuid']}")
    if output == JSON:
        print_json(model)
    else:
        _report(model, server)


def address(source: str) -> str:
    """The source with its scheme: `owner/name` is short for the hub. Raises UsageError for what is neither."""
    if "://" in source:
        return source
    if _SHORT.fullmatch(source):
        return f"hf://{source}"
    raise click.UsageError(f"{source!r} is not a source: write hf://owner/name, owner/name or https://...")


def _watch(client: Client, uuid: str, *, serve: bool) -> ServerRecord | None:
    from kn_model.follow import follow_model, follow_server, server_of
    from kn_model.progress import display

    try:
        with display() as shown:
            model = follow_model(client, uuid, shown.update)
        return follow_server(client, server_of(client, model["uuid"])["uuid"], _say_server) if serve else None
    except KeyboardInterrupt:
        raise Failure(
            "stopped watching",
            why="The pull goes on without this command.",
            do=f"kn model show {uuid}",
            code=Exit.INTERRUPTED,
        ) from None


def _say_server(server: ServerRecord) -> None:
    say(f"{server['name']}: {server['status']}")


def _report(model: ModelRecord, server: ServerRecord | None) -> None:
    if model["status"] != "available":
        click.echo(f"{model['name']} is {model['status']}: kn model show {model['uuid']}")
        return
    click.echo(f"{model['name']}: {size(model['bytes_done'])} fetched and verified, revision {model['revision']}")
    if server is not None:
        click.echo(f'Served as {server["name"]}: kn model chat {server["name"]} "Hello"')


COMMAND = pull
