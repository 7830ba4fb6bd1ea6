"""From what a person calls it to the record: a model's name, hub name or uuid, or the name of its server."""

from urllib.parse import quote

from kn_model.client import Client
from kn_model.failure import Exit, Failure
from kn_model.records import ModelRecord, ServerRecord


def find_model(client: Client, name: str) -> ModelRecord:
    """The model called `name`, else the one that the server called `name` serves. Raises Failure (not found)."""
    try:
        model: ModelRecord = client.get(f"/models/{quote(name)}")
    except Failure as failure:
        server = _server(client, name) if failure.code == Exit.NOT_FOUND else None
        if server is None:
            raise
        model = client.get(f"/models/{quote(server['model_uuid'])}")
    return model


def find_server(client: Client, name: str) -> ServerRecord:
    """The server called `name`, else the one that serves the model called `name`. Raises Failure (not found)."""
    server = _server(client, name)
    if server is not None:
        return server
    model: ModelRecord = client.get(f"/models/{quote(name)}")
    if model["server"] is None:
        raise Failure(
            f"{model['name']} is not served",
            why=f"The model is {model['status']} and no server serves it.",
            do=f"kn model serve {model['name']}",
            code=Exit.NOT_FOUND,
        )
    return model["server"]


def _server(client: Client, name: str) -> ServerRecord | None:
    try:
        server: ServerRecord = client.get(f"/status/{quote(name, safe='')}")
    except Failure as failure:
        if failure.code != Exit.NOT_FOUND:
            raise
        return None
    return server
