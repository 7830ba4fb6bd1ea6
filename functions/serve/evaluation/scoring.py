"""What a candidate's answers are worth, and which candidate wins. Pure.

A prompt is passed or not; a score is the weight that was passed, as a part of all weights, from 0 to 1.
"""

from collections.abc import Sequence
from statistics import median
from typing import Any, Final

import msgspec
from msgspec import Struct

from functions.serve.evaluation.requests import Expect, Prompt

# Kept of an answer, for people to look at.
SHOWN: Final = 200
_OK: Final = 200


class Result(Struct, frozen=True):
    """What became of one prompt. reason: why it failed, empty when it passed. answer: the beginning of what was said."""

    passed: bool
    reason: str
    answer: str
    latency_ms: int


class Standing(Struct, frozen=True):
    """A candidate at the end: position in the request; score None for one that was dropped."""

    position: int
    score: float | None
    latency_ms: int | None


def text_of(status: int, body: bytes) -> str | None:
    """What the model said, None for anything but an answer."""
    if status != _OK:
        return None
    try:
        choice: Any = msgspec.json.decode(body)["choices"][0]
        return str(choice["message"]["content"] or "") if "message" in choice else str(choice["text"])
    except (msgspec.MsgspecError, UnicodeDecodeError, LookupError, TypeError):
        return None


def unanswered(status: int, body: bytes, latency_ms: int) -> Result:
    """A prompt that got an error, or something that is no answer."""
    return Result(
        passed=False,
        reason=f"answered with status {status} and no text",
        answer=_kept(body[:SHOWN].decode(errors="replace")),
        latency_ms=latency_ms,
    )


def judged(text: str, expect: Expect, *, matches: bool | None, latency_ms: int) -> Result:
    """matches: whether the regex was found; None when it took too long to tell."""
    reason = _reason(text, expect, matches=matches)
    return Result(passed=not reason, reason=reason, answer=_kept(text[:SHOWN]), latency_ms=latency_ms)


def _kept(answer: str) -> str:
    """PostgreSQL's text holds every character but one."""
    return answer.replace("\x00", "")


def _reason(text: str, expect: Expect, *, matches: bool | None) -> str:
    if expect.contains is not None:
        return "" if expect.contains.lower() in text.lower() else f"does not contain {expect.contains[:80]!r}"
    if expect.exact is not None:
        return "" if text.strip() == expect.exact.strip() else f"is not {expect.exact[:80]!r}"
    if matches is None:
        return "the regex took too long on it"
    return "" if matches else f"does not match {str(expect.regex)[:80]!r}"


def score(prompts: Sequence[Prompt], results: Sequence[Result]) -> float:
    """From 0 to 1, to six digits: sums of floats in another order must not decide."""
    passed = sum(prompt.weight for prompt, result in zip(prompts, results, strict=True) if result.passed)
    return round(passed / sum(prompt.weight for prompt in prompts), 6)


def latency(results: Sequence[Result]) -> int | None:
    """The middle one, milliseconds."""
    return round(median(result.latency_ms for result in results)) if results else None


def winner(standings: Sequence[Standing], min_score: float) -> Standing | None:
    """The best of those with enough: the higher score; of equal ones the quicker; of equal ones the one named first."""
    good = [(standing.score, standing) for standing in standings if standing.score is not None]
    enough = [(score, standing) for score, standing in good if score >= min_score]
    if not enough:
        return None
    return min(enough, key=lambda each: (-each[0], each[1].latency_ms or 0, each[1].position))[1]
