"""The documentation against the code: commands, links and settings that it names exist."""

import re
from pathlib import Path

import click
import pytest
import yaml

from kn_model.cli import cli
from kn_model.hub import smollm2

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_the_readmes_tasks_exist() -> None:
    """Each `task x` that a newcomer pastes is a task of the Taskfile."""
    tasks = yaml.safe_load((ROOT / "Taskfile.yml").read_text())["tasks"]
    named = set(re.findall(r"\.venv/bin/task (\S+)", README))
    assert {"demo", "test", "deploy", "smoke"} == named & tasks.keys() == named


def test_the_set_up_installs_what_the_demos_model_is_made_of() -> None:
    """A machine that has nothing gets every package that the conversion needs from some task."""
    taskfile = (ROOT / "Taskfile.yml").read_text()
    engine = (ROOT / "requirements" / "engine-cpu.txt").read_text()
    installed = set(re.findall(r"^(?:  \w+: )?([\w.-]+)==", f"{taskfile}\n{engine}", re.MULTILINE))
    assert set() == set(smollm2.NEEDED.values()) - installed


def test_the_readmes_commands_exist() -> None:
    """Each `kn-model x` in the README is a command."""
    named = set(re.findall(r"^kn-model (\w+)", README, re.MULTILINE))
    assert set() == named - set(cli.list_commands(click.Context(cli)))
    assert named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page is a file of the repository."""
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [] == [link for link in links if not (page.parent / link).exists()]


def test_ci_finds_the_readmes_test_command() -> None:
    """What lands has passed the command that the README shows."""
    assert len(re.findall(r"^python3 -m venv .*task test$", README, re.MULTILINE)) == 1
