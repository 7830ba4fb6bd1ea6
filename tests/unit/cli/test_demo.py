"""The parts of the demo that need no runtime: the table of stages, the look for a hub, saying what takes long."""

import socket
import threading

import pytest

from kn_model.demo import hub
from kn_model.demo.stages import Stages
from kn_model.failure import Failure
from kn_model.waiting import announced


def test_the_table_has_every_stage_and_their_sum() -> None:
    """Also the one that failed, so that one sees how far things went."""
    stages = Stages()
    with stages.stage("first") as note:
        note.seen = "something"
    with pytest.raises(Failure), stages.stage("second"):
        raise Failure("no")
    lines = [line.split() for line in stages.lines()]
    assert [line[0] for line in lines] == ["STAGE", "first", "second", "all"]
    assert (lines[1][2], lines[2][2]) == ("something", "FAILED")


def test_the_hub_is_huggingface_or_what_hf_endpoint_names() -> None:
    """As for the hub's own clients."""
    assert [hub.endpoint({}), hub.endpoint({"HF_ENDPOINT": "http://hub/"})] == [hub.DEFAULT, "http://hub"]


def test_a_hub_that_accepts_and_says_nothing_does_not_answer() -> None:
    """A filtered network must not hold the demo."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert hub.answers(f"http://127.0.0.1:{silent.getsockname()[1]}", "o/n", within_s=0.05) is False


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no such host", "nonsense", ""])
def test_what_is_no_hub_does_not_answer(url: str) -> None:
    """Whatever HF_ENDPOINT says, the answer is no and not a traceback."""
    assert hub.answers(url, "o/n", within_s=0.5) is False


def test_what_takes_long_is_said_and_what_is_quick_is_not() -> None:
    """First the thing itself, then that it still goes on."""
    said: list[str] = []
    enough = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        if len(said) > 1:
            enough.set()

    with announced("waking", say, first_s=0.0, next_s=0.001):
        enough.wait(10)
    count = len(said)
    with announced("quick", say, first_s=60):
        pass
    assert (said[0], said[1].startswith("waking ... "), len(said)) == ("waking ...", True, count)
