"""`kn model chat`."""

import sys
from collections.abc import Iterator

import click

from kn_model.client import Client
from kn_model.command import JSON, command
from kn_model.failure import Exit, Failure
from kn_model.output import print_json, say

EXAMPLES = """
kn model chat smollm2-135m-instruct "What is the capital of France?"
kn model chat smollm2-135m-instruct            one question a line, until Ctrl-D
echo "Name three rivers." | kn model chat smollm2-135m-instruct
"""


@command("chat", examples=EXAMPLES)
@click.argument("name")
@click.argument("prompt", required=False)
@click.option("--system", help="What the model is told before the first question.")
@click.option("--max-tokens", type=int, default=512, help="Length of an answer at most.", show_default=True)
@click.option("--temperature", type=float, default=0.7, help="0 always takes the likeliest word.", show_default=True)
@click.option("--timeout", type=float, default=600.0, help="Seconds to wait for the model to wake.", show_default=True)
def chat(  # noqa: PLR0913, PLR0917  # one argument per option
    name: str,
    prompt: str | None,
    system: str | None,
    max_tokens: int,
    temperature: float,
    timeout: float,
    output: str,
) -> None:
    """Ask the model NAME; the answer streams as it is made.

    NAME is a server or a model. A sleeping model wakes, which takes as long as loading it. Without PROMPT the
    questions come from the terminal, and the conversation is remembered, or from stdin as one question.
    """
    from kn_model import conversation
    from kn_model.find import find_server
    from kn_model.follow import require_healthy
    from kn_model.session import connect

    client = connect()
    server = require_healthy(find_server(client, name))["name"]
    messages: list[conversation.Message] = [{"role": "system", "content": system}] if system else []
    for question in _questions(prompt, quiet=output == JSON):
        messages.append({"role": "user", "content": question})
        body = conversation.body(server, messages, max_tokens=max_tokens, temperature=temperature)
        text = _ask(client, body, timeout_s=timeout, quiet=output == JSON)
        messages.append({"role": "assistant", "content": text})
        if output == JSON:
            print_json({"server": server, "prompt": question, "answer": text})


def _questions(prompt: str | None, *, quiet: bool) -> Iterator[str]:
    if prompt is not None:
        yield prompt
    elif not sys.stdin.isatty():
        text = sys.stdin.read().strip()
        if not text:
            raise Failure("no question", why="stdin was empty.", do="Give a PROMPT.", code=Exit.USAGE)
        yield text
    else:
        yield from _typed(quiet=quiet)


def _typed(*, quiet: bool) -> Iterator[str]:
    import readline  # noqa: F401  # gives input() editing and history

    if not quiet:
        say("One question a line; Ctrl-D ends.")
    while True:
        try:
            question = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            say("")
            return
        if question:
            yield question


def _ask(client: Client, body: dict[str, object], *, timeout_s: float, quiet: bool) -> str:
    from kn_model import conversation

    text = ""
    try:
        for piece in conversation.answer(client, body, timeout_s=timeout_s, say=say):
            text += piece
            if not quiet:
                click.echo(piece, nl=False)
                sys.stdout.flush()
    except KeyboardInterrupt:
        raise Failure("stopped", code=Exit.INTERRUPTED) from None
    if not quiet:
        click.echo()
    return text


COMMAND = chat
