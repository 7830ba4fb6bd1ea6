"""What all commands have in common: `--output`, examples under `--help`, and failures in the form that was asked for."""

from collections.abc import Callable
from typing import Any

import click

from kn_model.failure import Failure

JSON = "json"


class ModelCommand(click.Command):
    """A command with `--output text|json`; its callback receives the choice as `output`."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._examples = examples
        self.params.append(
            click.Option(
                ["-o", "--output"],
                type=click.Choice(["text", JSON]),
                default="text",
                help="Text for people or JSON with stable fields.",
            )
        )

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, as they are."""
        if self._examples:
            with formatter.section("Examples"):
                for line in self._examples.strip().splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line.strip()}\n")
        super().format_epilog(ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the callback."""
        try:
            return super().invoke(ctx)
        except Failure as failure:
            failure.as_json = failure.as_json or ctx.params.get("output") == JSON
            raise


class ModelGroup(ModelCommand, click.Group):
    """A command that does something by itself and has commands below it."""


def command(name: str, *, examples: str = "") -> Callable[[Callable[..., Any]], click.Command]:
    """Declare a command of `kn model`. examples: lines of shell, shown under `--help`."""
    return click.command(name, cls=ModelCommand, examples=examples)
