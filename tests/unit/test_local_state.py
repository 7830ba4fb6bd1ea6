"""The runtime's folder: one holder, and nobody else reads its secrets."""

import os
import uuid
from pathlib import Path

import pytest

from kn_model.local import state
from kn_model.local.state import AlreadyRunning, FolderError, Runtime, State

RUNTIME = Runtime(os.getpid(), "http://127.0.0.1:1", "http://127.0.0.1:2", "2026-01-01T00:00:00Z")


def _certificate(folder: Path) -> Path:
    file = folder / "ca.crt"
    file.write_text("PEM")
    return file


def test_a_second_runtime_is_refused_by_pid(tmp_path: Path) -> None:
    """Two runtimes never share a folder; the message names the one that runs."""
    with State(tmp_path).lock(), pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"), State(tmp_path).lock():
        pass


def test_what_a_killed_runtime_left_does_not_count(tmp_path: Path) -> None:
    """runtime.json without a held lock is no runtime."""
    (tmp_path / "lock").write_text("1")
    State(tmp_path).record(RUNTIME, "token", _certificate(tmp_path))
    assert (state.read(tmp_path), state.is_held(tmp_path)) == (None, False)


def test_a_runtime_that_starts_is_not_taken_for_the_killed_one_before_it(tmp_path: Path) -> None:
    """A killed runtime leaves its runtime.json: until the next one is ready, nobody may believe it."""
    State(tmp_path).record(RUNTIME, "token", _certificate(tmp_path))
    with State(tmp_path).lock():
        assert (state.read(tmp_path), state.is_held(tmp_path)) == (None, True)


def test_a_running_runtime_is_found(tmp_path: Path) -> None:
    """While the folder is held, runtime.json says where it listens; after that there is none."""
    with State(tmp_path).lock():
        State(tmp_path).record(RUNTIME, "token", _certificate(tmp_path))
        found = state.read(tmp_path)
    assert (found, state.read(tmp_path)) == (RUNTIME, None)


def test_secrets_are_private(tmp_path: Path) -> None:
    """The kubeconfig has the administrator's token, so only its owner reads it."""
    State(tmp_path).record(RUNTIME, "token", _certificate(tmp_path))
    assert (tmp_path / "kubeconfig").stat().st_mode & 0o777 == 0o600


def test_an_unusable_folder_is_named(tmp_path: Path) -> None:
    """A folder that cannot be made is a message, not a traceback."""
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match="--dir"), State(tmp_path / "file" / "below").lock():
        pass


def test_stopping_what_does_not_run_says_so(tmp_path: Path) -> None:
    """`down` without `up` is no error."""
    assert state.stop(tmp_path) is False


def test_instances_get_a_short_path_wherever_the_folder_lies(tmp_path: Path) -> None:
    """A Unix socket named by a UUID fits below it (107 characters at most), and what is put there lies in the folder."""
    state = State(tmp_path / ("long-" * 20) / ".torpor")
    with state.short_pods() as pods:
        (pods / "x").write_text("here")
        room = len(str(pods / "abcde" / "scratch" / str(uuid.uuid4())))
    assert (True, "here", False) == (room <= 107, (state.pods / "x").read_text(), pods.exists())
