"""Settings: layers, types and errors that name the variable."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from functions.kit.settings import Secret, SettingsError, load, setting


@dataclass(frozen=True)
class Example:
    """One field of each kind."""

    address: str = setting(env="TORPOR_ADDRESS", why="where it is")
    size: int = setting(8, env="TORPOR_SIZE", unit="MiB", why="room")
    on: bool = setting(default=False, env="TORPOR_ON", why="a switch")
    hosts: tuple[str, ...] = setting((), env="TORPOR_HOSTS", why="a list")
    password: Secret = setting(Secret(""), env="TORPOR_PASSWORD", why="a secret")


def test_defaults_hold_where_nothing_is_set() -> None:
    """Only what has no default must be given."""
    assert Example("here") == load(Example, {"TORPOR_ADDRESS": "here"})


def test_the_environment_is_read_by_type() -> None:
    """Each type is parsed as its documentation says."""
    environ = {
        "TORPOR_ADDRESS": "a",
        "TORPOR_SIZE": "16",
        "TORPOR_ON": "true",
        "TORPOR_HOSTS": "a, b",
        "TORPOR_PASSWORD": "x",
    }
    assert Example("a", 16, True, ("a", "b"), Secret("x")) == load(Example, environ)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """The layers: code, file, environment."""
    file = tmp_path / "torpor.toml"
    file.write_text('TORPOR_ADDRESS = "file"\nTORPOR_SIZE = 9\nTORPOR_HOSTS = ["x", "y"]\n')
    loaded = load(Example, {"TORPOR_CONFIG": str(file), "TORPOR_SIZE": "10"})
    assert Example("file", 10, hosts=("x", "y")) == loaded


@pytest.mark.parametrize(
    ("environ", "start"),
    [
        ({}, "TORPOR_ADDRESS: is not set"),
        ({"TORPOR_ADDRESS": "a", "TORPOR_SIZE": "big"}, "TORPOR_SIZE: "),
        ({"TORPOR_ADDRESS": "a", "TORPOR_ON": "maybe"}, "TORPOR_ON: "),
        ({"TORPOR_CONFIG": "missing.toml"}, "TORPOR_CONFIG: cannot read"),
    ],
)
def test_an_error_names_its_variable(environ: dict[str, str], start: str) -> None:
    """Start-up fails on the name that the operator has to change."""
    with pytest.raises(SettingsError) as caught:
        load(Example, environ)
    assert str(caught.value).startswith(start)


def test_a_secret_does_not_show_itself() -> None:
    """Neither repr nor str nor a settings dump has the value."""
    shown = f"{Secret('hunter2')!r} {Secret('hunter2')} {Example('a', password=Secret('hunter2'))}"
    assert "hunter2" not in shown
