"""`kn model evaluate`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from kn_model.command import JSON, command
from kn_model.failure import Failure
from kn_model.output import print_json, say, table
from kn_model.records import EvaluationRecord
from kn_model.serving import serve_body, serving_options

EXAMPLES = """
kn model evaluate capital --candidate SmolLM2-135M-Instruct --candidate Qwen2.5-0.5B-Instruct --prompts capitals.json
kn model evaluate capital -c small -c large --prompts evaluations/capitals.json --deadline 3600 --no-wait
kn model evaluate --show 2f6b1c1e-8f1d-4f0a-9d2b-0f5d1f6f2a11
"""
_OVER: Final = frozenset({"failed", "superseded", "cancelled", "selected"})
_POLL_S: Final = 1.0
# Where POST /evaluations looks for lists of prompts in S3.
_KEYS: Final = "evaluations/"


@command("evaluate", examples=EXAMPLES)
@click.argument("alias", required=False)
@click.option("--candidate", "-c", "candidates", multiple=True, help="A model's name or uuid; give it several times.")
@click.option("--prompts", help="A JSON file with the prompts, or the key of one in S3 below evaluations/.")
@click.option("--deadline", type=int, help="Seconds to wait for candidates that are on their way.  [default: a day]")
@click.option("--min-score", type=float, help="What the winner needs, from 0 to 1.  [default: 0.5]")
@click.option("--show", "uuid", help="Show one that was asked for before.")
@click.option(
    "--wait/--no-wait", default=None, help="Wait until it is over.  [default: wait for a new one, not with --show]"
)
@serving_options
def evaluate(  # noqa: PLR0913, PLR0917  # the options of one command
    alias: str | None,
    candidates: tuple[str, ...],
    prompts: str | None,
    deadline: int | None,
    min_score: float | None,
    uuid: str | None,
    wait: bool | None,  # noqa: FBT001  # click's flag
    output: str,
    **serving: Any,
) -> None:
    """Ask several models the same prompts and serve the best one as ALIAS.

    Candidates need not be here yet: they are waited for until the deadline. Each is served for as long as it is asked,
    one after the other; the server named ALIAS then goes over to the winner, or is made.
    """
    from kn_model.session import connect

    client = connect()
    wait = uuid is None if wait is None else wait
    if uuid is None:
        body = _body(alias, candidates, prompts, serve_body(serving))
        limits = {"deadline_s": deadline, "min_score": min_score}
        uuid = client.post("/evaluations", {**body, **{name: n for name, n in limits.items() if n is not None}})["id"]
    found = _followed(client, uuid) if wait else client.get(f"/evaluations/{uuid}")
    if output == JSON:
        print_json(found)
    else:
        for line in lines(found):
            click.echo(line)
    if found["status"] in _OVER and found["status"] != "selected":
        raise Failure(
            f"{found['alias']} is as it was: the evaluation {'has ' if found['status'] == 'failed' else 'is '}"
            f"{found['status']}",
            why=found["why"],
            do=f"kn model evaluate --show {found['id']} has each candidate's score and reason",
        )


def _body(alias: str | None, candidates: tuple[str, ...], prompts: str | None, options: Any) -> dict[str, Any]:
    if not (alias and candidates and prompts):
        raise click.UsageError("give ALIAS, --candidate and --prompts, or --show")
    body = {"alias": alias, "candidates": candidates, "prompts": _prompts(prompts)}
    return {**body, "options": options} if options else body


def _prompts(named: str) -> Any:
    """The file's content where there is such a file; else the key, which the function looks up in S3.

    Raises click's BadParameter for what is neither.
    """
    path = Path(named)
    if not path.is_file():
        if named.startswith(_KEYS):
            return named
        raise click.BadParameter(
            f"there is no file {named!r}, and the key of a list in S3 begins with {_KEYS}", param_hint="--prompts"
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise click.BadParameter(f"{named} is not JSON: {error}", param_hint="--prompts") from error


def _followed(client: Any, uuid: str) -> EvaluationRecord:
    """Say what it is at whenever that changes, until it is over."""
    import time

    said = ""
    while True:
        found: EvaluationRecord = client.get(f"/evaluations/{uuid}")
        if found["why"] != said:
            said = found["why"]
            say(f"{found['alias']}: {said}")
        if found["status"] in _OVER:
            return found
        time.sleep(_POLL_S)


def lines(found: EvaluationRecord) -> Iterator[str]:
    """The evaluation as text."""
    yield f"Evaluation:  {found['id']}"
    yield f"Alias:       {found['alias']}"
    yield f"Status:      {found['status']} ({found['why']})"
    yield f"Winner:      {found['winner'] or '-'}"
    yield ""
    rows = [
        (
            each["model_name"] or each["candidate"],
            each["status"],
            "-" if each["score"] is None else f"{each['score']:.3f}",
            "-" if each["latency_ms"] is None else f"{each['latency_ms']} ms",
            f"{sum(result['passed'] for result in each['results'])} of {len(each['results'])}",
            each["why"] or "-",
        )
        for each in found["candidates"] or ()
    ]
    yield from table(("CANDIDATE", "STATUS", "SCORE", "LATENCY", "PASSED", "REASON"), rows)


COMMAND = evaluate
