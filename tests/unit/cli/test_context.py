"""Where Torpor is and who calls: saved logins and the variables that override them."""

from pathlib import Path

import pytest

from kn_model import context, laptop
from kn_model.context import Context, Saved
from kn_model.failure import Exit, Failure

LAPTOP = Context("http://127.0.0.1:8780", "laptop-token", "admin", "/work/.torpor")
CLUSTER = Context("https://torpor.example.com", "cluster-token", "ada")
SAVED = Saved(LAPTOP.url, {LAPTOP.url: LAPTOP, CLUSTER.url: CLUSTER})


def test_the_last_login_is_in_use() -> None:
    """Without any variable."""
    assert context.resolve({}, SAVED) == LAPTOP


def test_a_url_in_the_environment_picks_its_saved_token() -> None:
    """With or without a slash at its end."""
    assert context.resolve({"TORPOR_URL": CLUSTER.url + "/"}, SAVED) == CLUSTER


def test_a_token_in_the_environment_wins_and_is_never_renewed() -> None:
    """Whoever sets it means it: another identity must not take its place when it expires."""
    found = context.resolve({"TORPOR_TOKEN": "t"}, SAVED)
    assert found == Context(LAPTOP.url, "t", "admin", "")


@pytest.mark.parametrize("environ", [{}, {"TORPOR_URL": "http://unknown"}])
def test_nobody_logged_in_is_an_end(environ: dict[str, str]) -> None:
    """Exit code 3."""
    with pytest.raises(Failure) as caught:
        context.resolve(environ, Saved("", {}))
    assert caught.value.code == Exit.NOT_LOGGED_IN


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """Every login stays; the last one is current."""
    path = tmp_path / "torpor" / "config.json"
    context.save(path, CLUSTER)
    context.save(path, LAPTOP)
    assert context.load(path) == SAVED


@pytest.mark.parametrize("text", ["", "{", "[]", '{"current": "x"}', '{"current": "x", "contexts": {"x": {"a": 1}}}'])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    """With its path, instead of a traceback."""
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(Failure, match=str(path)):
        context.load(path)


def test_the_file_lies_where_xdg_says() -> None:
    """A relative XDG_CONFIG_HOME counts as unset."""
    files = [context.config_file({"XDG_CONFIG_HOME": value}) for value in ("/etc/x", "x", "")]
    home = Path.home() / ".config" / "torpor" / "config.json"
    assert files == [Path("/etc/x/torpor/config.json"), home, home]


def test_the_runtime_is_found_upwards(tmp_path: Path) -> None:
    """As git finds its repository; TORPOR_DIR wins; else the current directory gets one."""
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    fresh = laptop.folder_of({}, below)
    (tmp_path / ".torpor").mkdir()
    found = [laptop.folder_of({}, below), laptop.folder_of({"TORPOR_DIR": "/x"}, below)]
    assert (fresh, found) == (below / ".torpor", [tmp_path / ".torpor", Path("/x")])
