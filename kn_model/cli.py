"""`kn model`: pull, serve and talk to language models on Knative, on this laptop or on a cluster.

The console script `kn-model`; kn finds it as its plugin `kn model`. Each command is one module under `commands/`,
imported when it runs, so that `--help` and completion answer at once.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Final

import click

# Every command with its module under kn_model.commands and its line in the help, in the order people need them.
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "up": ("up", "Start the laptop runtime in this directory."),
    "down": ("down", "Stop the laptop runtime."),
    "login": ("login", "Log in to the laptop runtime or to a cluster."),
    "pull": ("pull", "Fetch a model, verify it, and serve it."),
    "ls": ("ls", "List the models."),
    "ps": ("ps", "List the servers."),
    "status": ("status", "Show one server: what it is at, and how long it takes to wake."),
    "show": ("show", "Show one model with its files and its server."),
    "serve": ("serve", "Serve a model, or change how it is served."),
    "rollout": ("rollout", "Let a server go over to another model by steps, or show how far it is."),
    "promote": ("promote", "Give what is on trial all of the traffic."),
    "rollback": ("rollback", "Give the traffic back to what served."),
    "pause": ("pause", "Hold a rollout at its step."),
    "resume": ("resume", "Let a held rollout go on."),
    "evaluate": ("evaluate", "Ask several models the same prompts and serve the best one."),
    "chat": ("chat", "Talk to a model; a sleeping one wakes."),
    "infer": ("infer", "Ask a model without waiting; the answer is kept."),
    "rm": ("rm", "Remove a model, its server, or both."),
    "gc": ("gc", "Free the space of content that no model refers to."),
    "logs": ("logs", "Show the log of a function or a model."),
    "deadletters": ("deadletters", "List events that nobody could take, or send them again."),
    "keys": ("keys", "Create, list and revoke API keys."),
    "version": ("version", "Show the version."),
}

HELP: Final = """Models as a service on Knative: pull, serve and talk to language models that sleep until they are called.

\b
On a laptop:
  kn model up --detach
  kn model login
  kn model pull hf://HuggingFaceTB/SmolLM2-135M-Instruct
  kn model chat smollm2-135m-instruct "What is the capital of France?"

TORPOR_URL and TORPOR_TOKEN say where Torpor is and who calls, over what login saved; TORPOR_DIR names the folder of
the laptop runtime.

\b
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not logged in or not allowed, 4 not found, 5 not running or not
reachable, 6 refused as things are (served, too large, name taken), 7 timed out, 130 interrupted.
"""


class Commands(click.Group):
    """The group of all commands; a command's module is imported when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"kn_model.commands.{COMMANDS[cmd_name][0]}")
        found: click.Command = module.COMMAND
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help, without importing a single command."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=Commands, help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
def cli() -> None:
    """See HELP."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with the documented exit code."""
    cli.main(args=list(arguments) if arguments is not None else None, prog_name="kn model")
