"""How long to wait before the next try: pure; the caller brings the random number."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

FIRST_S: Final = 0.25
CAP_S: Final = 8.0
# A longer wish than this is not waited for inside a slice anyway.
MAX_RETRY_AFTER_S: Final = 3600.0


def delay(failures: int, jitter: float, asked_s: float = 0.0) -> float:
    """Seconds before the next try after `failures` (from 1) in a row.

    Exponential up to CAP_S with full jitter (`jitter` in [0, 1)), so that workers who failed together do not come back
    together. asked_s: what the source asked for with Retry-After; never less than that.
    """
    return max(asked_s, min(CAP_S, FIRST_S * 2.0 ** min(failures - 1, 10)) * (0.5 + jitter / 2))


def asked(retry_after: str, now: datetime) -> float:
    """What a Retry-After asks for, in seconds: a number of them or a date (RFC 9110, 10.2.3); 0 for anything else."""
    if retry_after.isascii() and retry_after.isdigit():
        return min(float(retry_after[:6]), MAX_RETRY_AFTER_S)
    try:
        until = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max(0.0, (until - now).total_seconds()), MAX_RETRY_AFTER_S)
