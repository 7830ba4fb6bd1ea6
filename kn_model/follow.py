"""Waiting for a model to become available and for its server to become ready, by reading their records."""

import time
from collections.abc import Callable
from typing import Any, Final

from kn_model.client import Client
from kn_model.failure import Exit, Failure
from kn_model.records import ModelRecord, ServerRecord

# Often enough for a bar to move, seldom enough to cost nothing.
EVERY_S: Final = 0.5
# A restart of a function or of the database in the middle of a long pull is no reason to stop watching it.
PATIENCE_S: Final = 60.0
# The event from the download to the server: a second, or the next tick when it was lost.
SERVER_APPEARS_S: Final = 120.0
# Weights into memory and the engine's start: half a minute for a small model, much longer for a large one.
READY_S: Final = 1800.0
HEALTHY: Final = frozenset({"ready", "asleep"})
BROKEN: Final = frozenset({"failed", "deleted"})


def _read(client: Client, path: str) -> Any:
    """The record, also when nobody answers for a while: what is watched goes on without us. Raises Failure."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return client.get(path, patience_s=PATIENCE_S)
        except Failure as failure:
            if failure.code not in {Exit.NOT_RUNNING, Exit.TIMED_OUT} or time.monotonic() >= deadline:
                raise
        time.sleep(EVERY_S)


def follow_model(client: Client, uuid: str, show: Callable[[ModelRecord], None]) -> ModelRecord:
    """Show the model until it is available; answers its record. Raises Failure when it fails or is deleted."""
    while True:
        model: ModelRecord = _read(client, f"/models/{uuid}")
        show(model)
        if model["status"] == "available":
            return model
        if model["status"] in {"failed", "deleted"}:
            raise Failure(
                f"{model['name']} was not fetched",
                why=model["error"] or f"the model is {model['status']}",
                do=_advice(model),
            )
        time.sleep(EVERY_S)


def server_of(client: Client, model_uuid: str) -> ServerRecord:
    """The server of a model that was pulled to be served, as soon as the event has made it. Raises Failure."""
    deadline = time.monotonic() + SERVER_APPEARS_S
    while True:
        model: ModelRecord = _read(client, f"/models/{model_uuid}")
        if model["server"] is not None:
            return model["server"]
        if time.monotonic() > deadline:
            raise Failure(
                f"{model['name']} is not served after {SERVER_APPEARS_S:.0f} s",
                why="No server has appeared.",
                do="kn model logs serve shows why; kn model serve asks again.",
                code=Exit.TIMED_OUT,
            )
        time.sleep(EVERY_S)


def follow_server(client: Client, uuid: str, show: Callable[[ServerRecord], None]) -> ServerRecord:
    """Wait until the server is ready (or asleep, which is as healthy); shows each new state.

    Raises Failure when the server failed or was removed, or when it takes longer than it can.
    """
    deadline, shown = time.monotonic() + READY_S, ""
    while time.monotonic() < deadline:
        server: ServerRecord = _read(client, f"/status/{uuid}")
        if server["status"] != shown:
            shown = server["status"]
            show(server)
        if shown in HEALTHY:
            return server
        require_healthy(server)
        time.sleep(EVERY_S)
    raise Failure(
        f"the server {uuid} is still {shown} after {READY_S:.0f} s",
        do="kn model ps and kn model logs NAME show more; waiting again does no harm.",
        code=Exit.TIMED_OUT,
    )


def require_healthy(server: ServerRecord) -> ServerRecord:
    """The same server. Raises Failure when it failed: waiting for it to wake would be in vain."""
    if server["status"] in BROKEN:
        raise _server_failed(server)
    return server


def _advice(model: ModelRecord) -> str:
    if model["error_code"] in {"gated", "unauthorized", "forbidden"}:
        return "Accept the model's terms on the hub and give the runtime a token that may read it."
    return f"See kn model show {model['name']}; correct the cause, then pull again."


def _server_failed(server: ServerRecord) -> Failure:
    return Failure(
        f"{server['name']} was removed" if server["status"] == "deleted" else f"{server['name']} could not be started",
        why=server["error"] or "The cluster gave no reason.",
        do=f"kn model logs {server['name']}, then kn model serve {server['model_name']} with other settings.",
    )


def follow_removal(client: Client, path: str) -> None:
    """Wait until the record at `path` is deleted or gone. Raises Failure when that takes longer than it can."""
    deadline = time.monotonic() + SERVER_APPEARS_S
    while time.monotonic() < deadline:
        try:
            if _read(client, path)["status"] == "deleted":
                return
        except Failure as failure:
            if failure.code != Exit.NOT_FOUND:
                raise
            return
        time.sleep(EVERY_S)
    raise Failure(
        f"{path} is still there",
        why="The removal was asked for and has not finished.",
        do="kn model logs serve shows why.",
        code=Exit.TIMED_OUT,
    )
