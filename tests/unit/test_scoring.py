"""What answers are worth, and who wins: decided by values alone."""

import msgspec
import pytest

from functions.serve.evaluation import pattern
from functions.serve.evaluation.requests import EvaluationRequest, Expect, Prompt, Prompts
from functions.serve.evaluation.scoring import Result, Standing, judged, latency, score, text_of, unanswered, winner


def result(*, passed: bool, latency_ms: int = 1) -> Result:
    """What became of a prompt."""
    return Result(passed, "" if passed else "no", "x", latency_ms)


@pytest.mark.parametrize(
    ("expect", "text", "matches", "passed"),
    [
        (Expect(contains="paris"), "It is PARIS.", None, True),
        (Expect(contains="Paris"), "London", None, False),
        (Expect(exact="2"), " 2\n", None, True),
        (Expect(exact="2"), "2.", None, False),
        (Expect(exact="Two"), "two", None, False),
        (Expect(regex="x"), "x", True, True),
        (Expect(regex="x"), "y", False, False),
        (Expect(regex="x"), "y", None, False),
    ],
)
def test_an_answer_is_what_was_expected_or_not(expect: Expect, text: str, matches: bool | None, passed: bool) -> None:  # noqa: FBT001  # parameters of the test
    """A part in any case, all of it but for space around, or a regex; a failure has a reason."""
    found = judged(text, expect, matches=matches, latency_ms=1)
    assert (found.passed, bool(found.reason)) == (passed, not passed)


def test_results_are_bounded() -> None:
    """Two hundred of them fit into a row, whatever models say."""
    long = "x" * 100_000
    found = [
        judged(long, Expect(contains="y"), matches=None, latency_ms=1),
        unanswered(500, long.encode(), 1),
        judged(long, Expect(exact="y" * 4096), matches=None, latency_ms=1),
    ]
    assert all(len(msgspec.json.encode(each)) < 500 for each in found)


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (200, b'{"choices": [{"message": {"content": "hi"}}]}', "hi"),
        (200, b'{"choices": [{"message": {"content": null}}]}', ""),
        (200, b'{"choices": [{"text": "hi"}]}', "hi"),
        (200, b'{"choices": []}', None),
        (200, b"[]", None),
        (200, b"\xff", None),
        (500, b'{"choices": [{"text": "hi"}]}', None),
    ],
)
def test_only_an_answer_is_an_answer(status: int, body: bytes, text: str | None) -> None:
    """Whatever else comes is none."""
    assert text_of(status, body) == text


def test_a_score_is_the_part_of_the_weights_that_was_passed() -> None:
    """From 0 to 1."""
    prompts = [Prompt(Expect(contains="x"), prompt="p", weight=weight) for weight in (1, 2, 5)]
    results = [result(passed=True), result(passed=False), result(passed=True)]
    assert (score(prompts, results), score(prompts, [result(passed=True)] * 3)) == (0.75, 1.0)


def test_sums_of_floats_do_not_decide() -> None:
    """The same weights passed in another order are the same score."""
    weights = (0.1, 0.2, 0.3, 0.7)
    forth = [Prompt(Expect(contains="x"), prompt="p", weight=weight) for weight in weights]
    results = [result(passed=True), result(passed=True), result(passed=True), result(passed=False)]
    assert score(forth, results) == score(forth[::-1], results[::-1])


@pytest.mark.parametrize(
    ("standings", "best"),
    [
        ([Standing(0, 0.5, 10), Standing(1, 0.9, 99)], 1),
        ([Standing(0, 0.9, 10), Standing(1, 0.9, 9)], 1),
        ([Standing(0, 0.9, 9), Standing(1, 0.9, 9)], 0),
        ([Standing(0, None, None), Standing(1, 0.5, 9)], 1),
        ([Standing(0, 0.49, 9), Standing(1, None, None)], None),
        ([], None),
    ],
)
def test_the_best_wins(standings: list[Standing], best: int | None) -> None:
    """The higher score, then the quicker, then the one named first; below the minimum nobody does."""
    found = winner(standings, 0.5)
    assert (None if found is None else found.position) == best


def test_latency_is_the_middle_one() -> None:
    """One slow answer is no slow model; without answers nobody knows."""
    assert latency([result(passed=True, latency_ms=each) for each in (1, 900, 3)]) == 3
    assert latency([]) is None


async def test_a_regex_that_never_ends_is_given_up() -> None:
    """Some take for ever on some texts; the function goes on."""
    assert await pattern.found(r"(a+)+$", "a" * 40 + "b", limit_s=0.5) is None


@pytest.mark.parametrize(("text", "found"), [("It is Paris.", True), ("é London", False)])
async def test_a_regex_is_found_somewhere_in_the_answer(text: str, found: bool) -> None:  # noqa: FBT001  # a parameter
    """Not only at its beginning."""
    assert await pattern.found("[Pp]aris", text) is found


def test_the_same_request_has_the_same_fingerprint() -> None:
    """How long it waits is no part of what is asked; everything else is."""
    prompts = msgspec.convert([{"prompt": "p", "expect": {"contains": "x"}}], Prompts)
    one = EvaluationRequest("a", ("m", "n"), prompts)
    same = msgspec.structs.replace(one, deadline_s=1)
    others = [
        msgspec.structs.replace(one, alias="b"),
        msgspec.structs.replace(one, candidates=("n", "m")),
        msgspec.structs.replace(one, min_score=0.6),
    ]
    assert one.fingerprint(b"p") == same.fingerprint(b"p")
    assert len({each.fingerprint(b"p") for each in (one, *others)} | {one.fingerprint(b"q")}) == 5
