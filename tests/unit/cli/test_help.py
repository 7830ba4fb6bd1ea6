"""`kn model --help` and what every command has in common."""

import pytest

from kn_model.cli import COMMANDS
from tests.unit.cli.fake import Person


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "keys"])
def test_every_command_has_help_with_examples(person: Person, command: str) -> None:
    """Somebody who has never seen the command can copy a line that works."""
    result = person.types(command, "--help")
    assert (result.exit_code, f"kn model {command}" in result.output, "--output" in result.output) == (0, True, True)


def test_the_help_names_commands_and_exit_codes(person: Person) -> None:
    """`kn model --help` is the table of contents."""
    output = person.types("--help").output
    assert [word for word in [*COMMANDS, "Exit codes"] if word not in output] == []
