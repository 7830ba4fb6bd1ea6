"""`kn model infer`."""

import sys
import time
from typing import Any, Final
from uuid import uuid4

import click

from kn_model.client import Client
from kn_model.command import JSON, command
from kn_model.failure import Exit, Failure
from kn_model.output import print_json
from kn_model.records import InferenceRecord

EXAMPLES = """
kn model infer smollm2-135m-instruct "Write a limerick about sleep." --wait
kn model infer tiny "Summarise: ..." --deadline 3600 --key report-2026-01
kn model infer tiny < prompt.txt
kn model infer --show 4f0c8a9e-8a44-4f0c-9a37-2f6f7f0d8c11
kn model infer --cancel 4f0c8a9e-8a44-4f0c-9a37-2f6f7f0d8c11
"""
_EVERY_S: Final = 0.5
_OPEN: Final = frozenset({"queued", "running"})
_LOST: Final = frozenset({"failed", "expired"})


@command("infer", examples=EXAMPLES)
@click.argument("name", required=False)
@click.argument("prompt", required=False)
@click.option("--wait", is_flag=True, help="Wait for the answer and print it.")
@click.option("--key", help="The Idempotency-Key: the same one again is the same request.  [default: a new one]")
@click.option("--max-tokens", type=int, default=512, help="Length of the answer at most.", show_default=True)
@click.option("--deadline", type=int, metavar="SECONDS", help="Give it up after this.  [default: the installation's]")
@click.option("--show", metavar="ID", help="Show a request that was made before, with its answer.")
@click.option("--cancel", metavar="ID", help="Cancel a request; a call that is under way is broken off.")
def infer(  # noqa: PLR0913, PLR0917  # one argument per option
    name: str | None,
    prompt: str | None,
    wait: bool,  # noqa: FBT001  # click's flag
    key: str | None,
    max_tokens: int,
    deadline: int | None,
    show: str | None,
    cancel: str | None,
    output: str,
) -> None:
    """Ask the model NAME without waiting: the request is kept, and answered when the model has a place.

    NAME is a server or a model. Prints the request's id; the answer is kept for a week (by default) and shown by --show.
    Without PROMPT it is read from stdin.
    """
    from kn_model.session import connect

    if cancel or show:
        client = connect()
        record = client.delete(f"/inference/{cancel}") if cancel else client.get(f"/inference/{show}")
    else:
        body = _request(name, prompt, max_tokens, deadline)
        client = connect()
        record = client.post("/inference", body, idempotency_key=key or str(uuid4()))
    _report(_ended(client, record) if wait else record, output)


def _request(name: str | None, prompt: str | None, max_tokens: int, deadline: int | None) -> dict[str, Any]:
    if name is None:
        raise click.UsageError("give the NAME of a model, or --show ID or --cancel ID")
    question = prompt if prompt is not None or sys.stdin.isatty() else sys.stdin.read().strip()
    if not question:
        raise click.UsageError("give a PROMPT, or send it on stdin")
    asked = {"messages": [{"role": "user", "content": question}], "max_tokens": max_tokens}
    return {"model": name, "body": asked, **({"deadline_s": deadline} if deadline is not None else {})}


def _ended(client: Client, record: InferenceRecord) -> InferenceRecord:
    """The record once nothing more happens to it. Ctrl-C only stops watching."""
    try:
        record = client.get(f"/inference/{record['id']}")
        while record["status"] in _OPEN:
            time.sleep(_EVERY_S)
            record = client.get(f"/inference/{record['id']}")
    except KeyboardInterrupt:
        raise Failure(
            "stopped watching",
            why="The request goes on without this command.",
            do=f"kn model infer --show {record['id']}",
            code=Exit.INTERRUPTED,
        ) from None
    return record


def _report(record: InferenceRecord, output: str) -> None:
    """Print it. Raises Failure for one that will never be answered, whatever the format."""
    if output == JSON:
        print_json(record)
    elif record["status"] == "completed":
        click.echo(_text(record))
    elif record["status"] not in _LOST:
        click.echo(f"{record['id']} is {record['status']}: kn model infer --show {record['id']}")
    if record["status"] in _LOST:
        raise Failure(
            f"the request {record['id']} {record['status']}",
            why=record["error"] or "",
            do="kn model ps and kn model deadletters show more; then ask again.",
        )


def _text(record: InferenceRecord) -> str:
    """What the model said; whatever else its answer is, and one that is too large to be shown, by its address."""
    answer = record.get("result")
    try:
        return str(answer["choices"][0]["message"]["content"]) if answer else f"completed: GET {record['result_url']}"
    except (KeyError, IndexError, TypeError):
        return f"completed: GET {record['result_url']}"


COMMAND = infer
