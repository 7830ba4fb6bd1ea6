"""`kn model deadletters`."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import click

from kn_model.client import Client
from kn_model.command import JSON, ModelCommand, ModelGroup
from kn_model.output import age, print_json, print_table
from kn_model.records import DeadLetterRecord

EXAMPLES = """
kn model deadletters
kn model deadletters --type dev.torpor.file.requested.v1 --code 503
kn model deadletters show 17
kn model deadletters redrive 17 18
kn model deadletters redrive --all
"""
# A reason is a sentence in the list; `show` has all of it.
_REASON_CHARS: Final = 60

_FILTERS: Final = (
    click.option("--type", "type_", help="Events of this type."),
    click.option("--subject", help="Events about this record, by its uuid."),
    click.option("--destination", help="Events that this address could not take."),
    click.option("--code", type=int, help="Events that were answered so last."),
    click.option("--since", help="Letters that came at this time or later, as in 2026-01-31T12:00:00Z."),
    click.option("--until", help="Letters that came before this time."),
)


def filters(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which letters are meant; the same for list and redrive."""
    for option in reversed(_FILTERS):
        function = option(function)
    return function


@click.group("deadletters", cls=ModelGroup, examples=EXAMPLES, invoke_without_command=True)
@filters
@click.option("--redriven", is_flag=True, help="Those that were sent again and have not come back, instead.")
@click.pass_context
def dead_letters(ctx: click.Context, /, redriven: bool, output: str, **chosen: Any) -> None:  # noqa: FBT001  # click's flag
    """List events that nobody could take, show one, or send them again. For operators."""
    from kn_model.session import connect

    wanted = _wanted(chosen)
    if ctx.invoked_subcommand is not None:
        if wanted or redriven:
            raise click.UsageError(f"put options after {ctx.invoked_subcommand}: before it they say what is listed")
        return
    query = {**wanted, "redriven": "true" if redriven else "false"}
    letters: list[DeadLetterRecord] = connect().items("/deadletters", "dead_letters", **query)
    if output == JSON:
        print_json({"dead_letters": letters})
        return
    header = ("ID", "AGE", "TYPE", "SUBJECT", "DESTINATION", "CODE", "REASON")
    print_table(header, [_row(letter) for letter in letters])


@dead_letters.command("show", cls=ModelCommand, examples="kn model deadletters show 17")
@click.argument("letter_id", metavar="ID", type=int)
def show(letter_id: int, output: str) -> None:
    """Show one letter: the event as it came, and why it could not be delivered."""
    from kn_model.session import connect

    letter: DeadLetterRecord = connect().get(f"/deadletters/{letter_id}")
    if output == JSON:
        print_json(letter)
        return
    for line in _lines(letter):
        click.echo(line)


@dead_letters.command("redrive", cls=ModelCommand, examples=EXAMPLES)
@click.argument("letter_ids", metavar="[ID]...", type=int, nargs=-1)
@filters
@click.option("--all", "everything", is_flag=True, help="Every letter that was not redriven yet.")
def redrive(letter_ids: tuple[int, ...], everything: bool, output: str, **chosen: Any) -> None:  # noqa: FBT001  # click's flag
    """Send letters again: those named by ID, those that the options describe, or all.

    Subscribers that have had an event do nothing with it. One that fails again comes back as the same letter.
    """
    from kn_model.session import connect

    wanted = _wanted(chosen)
    if bool(letter_ids) + bool(wanted) + everything != 1:
        raise click.UsageError("name letters by ID, or describe them, or say --all: one of the three")
    client = connect()
    if letter_ids:
        letters: list[DeadLetterRecord] = [client.post(f"/deadletters/{each}/redrive", {}) for each in letter_ids]
        count = len({letter["id"] for letter in letters})
    else:
        count = _redrive_matching(client, wanted)
    if output == JSON:
        print_json({"redriven": count})
    else:
        click.echo(f"On their way: {count}. What fails again is listed by: kn model deadletters")


def _redrive_matching(client: Client, wanted: dict[str, Any]) -> int:
    """Call by call, up to the newest letter that is here now: those that come back meanwhile are not sent once more."""
    newest = client.get("/deadletters", **wanted, redriven="false", limit=1)["dead_letters"]
    if not newest:
        return 0
    after = datetime.fromisoformat(newest[0]["received_at"]) + timedelta(microseconds=1)
    body = {**wanted, "until": after.isoformat()}
    count, more = 0, True
    while more:
        answer = client.post("/deadletters/redrive", body)
        count, more = count + answer["redriven"], answer["more"]
    return count


def _wanted(chosen: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, by the names that the API has for them."""
    return {name.rstrip("_"): value for name, value in chosen.items() if value is not None}


def _row(letter: DeadLetterRecord) -> tuple[str, ...]:
    reason = " ".join(_reason(letter).split())
    return (
        str(letter["id"]),
        age(letter["received_at"]),
        letter["type"],
        letter["subject"] or "-",
        letter["error_dest"] or "-",
        _code(letter),
        reason if len(reason) <= _REASON_CHARS else reason[: _REASON_CHARS - 1] + "…",
    )


def _code(letter: DeadLetterRecord) -> str:
    return "-" if letter["error_code"] is None else str(letter["error_code"])


def _reason(letter: DeadLetterRecord) -> str:
    """What the destination answered: of a problem document its detail. Brokers cut long answers off."""
    text = letter["error_data"] or "-"
    try:
        document = json.loads(text)
    except ValueError:
        return text
    return str(document.get("detail") or document.get("title") or text) if isinstance(document, dict) else text


def _lines(letter: DeadLetterRecord) -> Iterator[str]:
    yield f"ID:           {letter['id']}"
    yield f"Event:        {letter['event_id']} from {letter['source']}"
    yield f"Type:         {letter['type']}"
    yield f"Subject:      {letter['subject'] or '-'}"
    yield from (f"  {name}: {text}" for name, text in sorted(letter["extensions"].items()))
    yield f"Destination:  {letter['error_dest'] or '-'}"
    yield f"Code:         {_code(letter)}"
    yield f"Reason:       {_reason(letter)}"
    yield f"Age:          {age(letter['received_at'])}"
    yield f"Redriven:     {_redriven(letter)}"
    yield f"Content:      {letter['content_type'] or '-'}"
    yield ""
    yield letter["data"] if letter["data"] is not None else f"{letter['data_base64']} (base64)"


def _redriven(letter: DeadLetterRecord) -> str:
    if not letter["redrives"]:
        return "never"
    state = f"{age(letter['redriven_at'])} ago, not back since" if letter["redriven_at"] else "came back"
    return f"{letter['redrives']} times, last by {letter['redriven_by']}; {state}"


COMMAND = dead_letters
