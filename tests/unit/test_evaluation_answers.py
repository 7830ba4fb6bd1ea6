"""What people expect and models answer, where neither is what a database or a process can take."""

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import pytest

from functions.serve.evaluation import pattern
from functions.serve.evaluation.requests import Expect
from functions.serve.evaluation.scoring import judged, unanswered
from functions.serve.rollout import prompts


def test_answers_are_kept_without_the_character_that_no_column_holds() -> None:
    """PostgreSQL's text holds no NUL: with one, an evaluation or a rollout could not go on."""
    right = judged("a\x00b", Expect(contains="a"), matches=None, latency_ms=1)
    wrong = unanswered(500, b"a\x00b", 1)
    proof = prompts.judge(500, b"a\x00b", "")
    assert (right.passed, right.answer, wrong.answer) == (True, "ab", "ab")
    assert proof.why.endswith("500: ab")


@pytest.mark.parametrize(
    ("expect", "says"),
    [
        ({"contains": "a\x00"}, "NUL"),
        ({"exact": "a\x00"}, "NUL"),
        ({"regex": "a\x00"}, "NUL"),
        ({"regex": "a{99999999999999999999}"}, "the regex cannot be read"),
        ({"regex": "("}, "the regex cannot be read"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(expect: dict[str, str], says: str) -> None:
    """When it is asked for, not an hour later with every answer."""
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.convert(expect, Expect)


async def test_a_search_that_is_cancelled_leaves_no_process() -> None:
    """It would keep a core busy for ever."""
    before = _children()
    searching = asyncio.create_task(pattern.found(r"(a+)+$", "a" * 60 + "b", limit_s=60))
    async with asyncio.timeout(30):
        while not any(map(_is_busy, begun := _children() - before)):  # noqa: ASYNC110  # it tells nobody that it searches
            await asyncio.sleep(0.01)
    searching.cancel()
    await asyncio.gather(searching, return_exceptions=True)
    left = _children() & begun
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == set()


def _is_busy(pid: int) -> bool:
    """It has worked for longer than an interpreter takes to start: 0.3 s (proc(5), utime in ticks of 10 ms)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11]) > 30


def _children() -> set[int]:
    return {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}
