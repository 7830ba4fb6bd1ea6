"""`kn model rollout`."""

from typing import Any, Final
from urllib.parse import quote

import click

from kn_model import rolling
from kn_model.command import JSON, command
from kn_model.output import print_json
from kn_model.records import ServerDetailRecord

EXAMPLES = """
kn model rollout tiny --model SmolLM2-360M-Instruct --prompt "Capital of France?" --expect Paris
kn model rollout tiny --model SmolLM2-360M-Instruct --step 10 --step 50 --step 100 --hold 300
kn model rollout tiny
"""
# Option -> field of `rollout` in the body of PATCH /serve/{name}.
_FIELDS: Final = {
    "strategy": "strategy",
    "steps": "steps",
    "hold": "hold_s",
    "min_requests": "min_requests",
    "max_error_rate": "max_error_rate",
    "max_ttft_ratio": "max_ttft_ratio",
    "prompt": "prompt",
    "expect": "expect",
}


@command("rollout", examples=EXAMPLES)
@click.argument("name")
@click.option("--model", help="The model to go over to, by name or uuid; without it the rollout is shown.")
@click.option("--strategy", type=click.Choice(["canary", "replace", "direct"]), help="How.  [default: canary]")
@click.option("--step", "steps", type=int, multiple=True, metavar="PERCENT", help="A step; repeatable.")
@click.option("--hold", type=int, metavar="SECONDS", help="How long each step lasts.")
@click.option("--min-requests", type=int, help="Answers that each step waits for.")
@click.option("--max-error-rate", type=float, help="How much larger the share of errors may be, such as 0.02.")
@click.option("--max-ttft-ratio", type=float, help="How many times the p95 time to first token may be as long.")
@click.option("--prompt", help="Asked before any traffic.")
@click.option("--expect", help="What the answer to the prompt has to contain.")
def rollout(name: str, model: str | None, output: str, **options: Any) -> None:
    """Let the server NAME go over to another model step by step, or show how far it is.

    The new revision is asked the prompt, then gets its steps of the traffic while its errors and its time to first
    token hold against what serves. It is promoted or rolled back by itself; see promote, rollback, pause and resume.
    """
    from kn_model.session import connect

    given = {_FIELDS[option]: value for option, value in options.items() if value not in (None, ())}
    if given and model is None:
        raise click.UsageError("--model is missing: what is the server to go over to?")
    client, path = connect(), quote(name, safe="")
    if model is not None:
        client.patch(f"/serve/{path}", {"model": model, "rollout": given})
    server: ServerDetailRecord = client.get(f"/status/{path}")
    if output == JSON:
        print_json({"rollout": server["rollout"], "rollouts": server["rollouts"]})
        return
    for line in lines(server):
        click.echo(line)


def lines(server: ServerDetailRecord) -> list[str]:
    """The rollout that is under way, else the last one."""
    shown = server["rollout"] or next(iter(server["rollouts"]), None)
    if shown is None:
        return [f"{server['name']} serves {server['model_name']}, and went over to nothing yet"]
    return list(rolling.lines(shown))


COMMAND = rollout
