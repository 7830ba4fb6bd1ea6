"""Rollouts for people: as text, and the four decisions that a person can take. Used by the commands."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

import click

from kn_model.command import JSON, command
from kn_model.output import age, print_json, say
from kn_model.records import MeasuredRecord, RolloutRecord

# A reason in a table's row; `-o json` has all of it.
_WHY: Final = 60


def lines(rollout: RolloutRecord) -> Iterator[str]:
    """A rollout as text."""
    yield f"Rollout:   {rollout['previous_model_name']} -> {rollout['model_name']}, {rollout['strategy']}"
    steps = ", ".join(map(str, rollout["steps"]))
    yield f"At:        {rollout['status']}, {rollout['percent']} % of the traffic (steps: {steps})"
    yield f"Because:   {rollout['why']}"
    if rollout["measures"]:
        yield f"Candidate: {_figures(rollout['measures']['candidate'])}"
        yield f"Serving:   {_figures(rollout['measures']['stable'])}"


def _figures(measured: MeasuredRecord) -> str:
    slow = "" if measured["ttft_p95_ms"] is None else f", p95 time to first token {measured['ttft_p95_ms']} ms"
    return f"{measured['requests']} requests, {measured['errors']} errors{slow}"


def row(rollout: RolloutRecord) -> tuple[str, ...]:
    """A rollout as a row of a table."""
    return (rollout["model_name"], rollout["status"], age(rollout["created_at"]), rollout["why"][:_WHY])


def decision(word: str, about: str) -> click.Command:
    """The command of one decision about the rollout of a server."""

    @command(word, examples=f"kn model {word} smollm2-135m-instruct")
    @click.argument("name")
    def decide(name: str, output: str) -> None:
        from kn_model.session import connect

        rollout: RolloutRecord = connect().post(f"/serve/{quote(name, safe='')}/{word}", {})
        if output == JSON:
            print_json(rollout)
        else:
            say(f"{name}: the rollout to {rollout['model_name']} is {rollout['status']}")

    decide.help = about
    return decide
