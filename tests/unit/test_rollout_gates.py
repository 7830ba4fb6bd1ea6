"""The gates: when a candidate may go on, has to wait, or has to go."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.serve.requests import RolloutOptions
from functions.serve.rollout.gates import Measured, Measures, judge

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
OPTIONS = RolloutOptions(hold_s=60, min_requests=20, max_error_rate=0.02, max_ttft_ratio=1.5)
GOOD = Measured(requests=100, recent=100, first_tokens=100, ttft_p95_ms=200)


def _candidate(**changed: Any) -> Measured:
    return Measured(**{"requests": 40, "recent": 40, "first_tokens": 40, "ttft_p95_ms": 210, **changed})


@pytest.mark.parametrize(
    ("candidate", "after_s", "word", "said"),
    [
        pytest.param(_candidate(), 61, "advance", "40 requests, 0.0% errors", id="it holds"),
        pytest.param(_candidate(), 59, "wait", "held for 1 s more", id="not for long enough"),
        pytest.param(_candidate(recent=19), 61, "wait", "1 more of 20 requests", id="not often enough"),
        pytest.param(_candidate(errors=1), 61, "advance", "2.5% errors", id="one error can happen to anybody"),
        pytest.param(_candidate(errors=2), 1, "breach", "2 of 40 requests failed (5.0%)", id="fails 5 %"),
        pytest.param(_candidate(requests=5, errors=2), 1, "breach", "2 of 5", id="20 good ones would not mend it"),
        pytest.param(_candidate(requests=200, errors=4), 61, "advance", "2.0%", id="as many as allowed"),
        pytest.param(_candidate(ttft_p95_ms=300), 61, "advance", "300 ms", id="as slow as allowed"),
        pytest.param(_candidate(ttft_p95_ms=301), 1, "breach", "301 ms over 40", id="slow"),
        pytest.param(_candidate(ttft_p95_ms=301, first_tokens=19), 61, "advance", "301", id="too few to call it slow"),
    ],
)
def test_verdicts(candidate: Measured, after_s: int, word: str, said: str) -> None:
    """By table, against a revision that serves 100 requests without an error at 200 ms."""
    verdict = judge(OPTIONS, Measures(candidate, GOOD), BEGAN, BEGAN + timedelta(seconds=after_s))
    assert (verdict.word, said in verdict.why) == (word, True), verdict.why


def test_what_serves_may_fail_as_well() -> None:
    """A candidate is compared with it: the same share of errors is no breach."""
    bad = Measured(requests=100, errors=10, recent=100)
    assert judge(OPTIONS, Measures(_candidate(errors=4), bad), BEGAN, BEGAN + timedelta(seconds=61)).word == "advance"


def test_nobody_notices_milliseconds() -> None:
    """Below 100 ms a ratio would judge noise."""
    fast = Measured(requests=100, recent=100, first_tokens=100, ttft_p95_ms=4)
    slower = _candidate(ttft_p95_ms=140)
    assert judge(OPTIONS, Measures(slower, fast), BEGAN, BEGAN + timedelta(seconds=61)).word == "advance"


def test_a_clock_that_was_set_back_holds_longer() -> None:
    """Never shorter."""
    assert judge(OPTIONS, Measures(_candidate(), GOOD), BEGAN, BEGAN - timedelta(hours=1)).word == "wait"


def test_without_holding_a_step_ends_at_once() -> None:
    """hold_s and min_requests of 0: the first look advances."""
    eager = RolloutOptions(hold_s=0, min_requests=0)
    assert judge(eager, Measures(Measured(), Measured()), BEGAN, BEGAN).word == "advance"
