"""`kn model status`."""

from collections.abc import Iterator

import click

from kn_model import rolling
from kn_model.command import JSON, command
from kn_model.output import age, print_json, table
from kn_model.records import ColdStartsRecord, PhasesRecord, ServerDetailRecord


@command("status", examples="kn model status smollm2-135m-instruct\nkn model status smollm2-135m-instruct -o json")
@click.argument("name")
def status(name: str, output: str) -> None:
    """Show one server: what it is at, where it answers, and how long it takes to wake; NAME is a server or its uuid."""
    from kn_model.session import connect

    server: ServerDetailRecord = connect().get(f"/status/{name}")
    if output == JSON:
        print_json(server)
        return
    for line in lines(server):
        click.echo(line)


def lines(server: ServerDetailRecord) -> Iterator[str]:
    """The server as text."""
    yield f"Name:      {server['name']}"
    yield f"Model:     {server['model_name']}"
    yield f"Status:    {server['status']}"
    if server["error"]:
        yield f"Reason:    {server['error']}"
    yield f"Replicas:  {'-' if server['replicas'] is None else server['replicas']}"
    yield f"Revision:  {server['revision'] or '-'}"
    yield f"URL:       {server['gateway_url'] or server['endpoint'] or '-'}"
    yield f"Age:       {age(server['created_at'])}"
    if server["rollout"]:
        yield ""
        yield from rolling.lines(server["rollout"])
    if server["rollouts"]:
        yield ""
        yield from table(("ROLLOUT TO", "STATUS", "AGE", "WHY"), [rolling.row(each) for each in server["rollouts"]])
    if server["cold_starts"]:
        yield ""
        header = ("COLD STARTS OF", "STARTS", "", "SCHEDULE", "FETCH", "LOAD", "READY")
        yield from table(header, [row for starts in server["cold_starts"] for row in _rows(starts)])


def _rows(starts: ColdStartsRecord) -> Iterator[tuple[str, ...]]:
    yield (starts["revision"], str(starts["starts"]), "last", *_phases(starts["last"]))
    yield ("", "", "median", *_phases(starts["median"]))


def _phases(phases: PhasesRecord) -> tuple[str, ...]:
    return (
        _seconds(phases["schedule_ms"]),
        _seconds(phases["fetch_ms"]),
        _seconds(phases["load_ms"]),
        _seconds(phases["ready_ms"]),
    )


def _seconds(milliseconds: int | None) -> str:
    """To a tenth, which is what a person can tell apart."""
    return "-" if milliseconds is None else f"{milliseconds / 1000:.1f} s"


COMMAND = status
