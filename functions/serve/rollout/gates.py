"""Whether a candidate may take the next step: its errors and first tokens against those of the revision that serves. Pure.

Called by `steps` with what the table `usage` says of both revisions. Errors count from the candidate's first
request on, so that a small share of them is found in the course of several steps.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec import Struct

from functions.serve.requests import RolloutOptions

# One error can happen to anybody.
FEWEST_ERRORS: Final = 2
# Nobody notices a first token that is faster; below it a ratio would judge noise.
UNNOTICED_MS: Final = 100
# Of the newest requests of a revision; a share of them is known to a hundredth of a percent.
MEASURED: Final = 10_000
# With fewer first tokens a p95 is the slowest of a handful.
FEWEST_FIRST_TOKENS: Final = 20


class Measured(Struct, frozen=True):
    """What one revision answered.

    requests: the newest, without those that were the caller's fault. errors: of class 5xx, and callers who left without
    a first token. recent: requests since the step began. first_tokens: how many times to first token are known; an answer
    that is no stream shows its first token at its end, and who left has waited for one that long.
    """

    requests: int = 0
    errors: int = 0
    recent: int = 0
    first_tokens: int = 0
    ttft_p95_ms: int | None = None

    @property
    def error_rate(self) -> float:
        """Of all requests; 0 when there were none."""
        return self.errors / self.requests if self.requests else 0.0


class Measures(Struct, frozen=True):
    """Both revisions side by side: the value of rollouts.measures."""

    candidate: Measured
    stable: Measured


@dataclass(frozen=True, slots=True)
class Verdict:
    """advance: the step has held. wait: it lasts. breach: the candidate has to go. why: for people, with the numbers."""

    word: Literal["advance", "wait", "breach"]
    why: str


def judge(options: RolloutOptions, measures: Measures, since: datetime, now: datetime) -> Verdict:
    """since: when the step began. A clock that was set back makes the step last longer, never shorter."""
    breach = _errors(options, measures) or _first_tokens(options, measures)
    if breach:
        return Verdict("breach", breach)
    left = since + timedelta(seconds=options.hold_s) - now
    if left > timedelta():
        return Verdict("wait", f"the step is held for {left.total_seconds():.0f} s more")
    missing = options.min_requests - measures.candidate.recent
    if missing > 0:
        return Verdict("wait", f"the step waits for {missing} more of {options.min_requests} requests to the candidate")
    return Verdict("advance", _summary(measures))


def _errors(options: RolloutOptions, measures: Measures) -> str:
    """As soon as the rest of the requests, were they all answered, could not make up for it."""
    candidate, stable = measures.candidate, measures.stable
    allowed = stable.error_rate + options.max_error_rate
    expected = max(candidate.requests, options.min_requests)
    if candidate.errors < FEWEST_ERRORS or candidate.errors <= allowed * expected:
        return ""
    return (
        f"{candidate.errors} of {candidate.requests} requests failed ({candidate.error_rate:.1%}); "
        f"{stable.error_rate:.1%} do with what serves, and {options.max_error_rate:.1%} more are allowed"
    )


def _first_tokens(options: RolloutOptions, measures: Measures) -> str:
    candidate, stable = measures.candidate, measures.stable
    if candidate.ttft_p95_ms is None or stable.ttft_p95_ms is None:
        return ""
    fewest = min(FEWEST_FIRST_TOKENS, max(options.min_requests, 1))
    allowed = max(stable.ttft_p95_ms, UNNOTICED_MS) * options.max_ttft_ratio
    if min(candidate.first_tokens, stable.first_tokens) < fewest or candidate.ttft_p95_ms <= allowed:
        return ""
    return (
        f"the p95 time to first token is {candidate.ttft_p95_ms} ms over {candidate.first_tokens} requests; "
        f"{stable.ttft_p95_ms} ms with what serves, and {allowed:.0f} ms are allowed"
    )


def _summary(measures: Measures) -> str:
    candidate = measures.candidate
    first = f", p95 time to first token {candidate.ttft_p95_ms} ms" if candidate.ttft_p95_ms is not None else ""
    return f"{candidate.requests} requests, {candidate.error_rate:.1%} errors{first}"
