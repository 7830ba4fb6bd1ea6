"""How long to wait before the next try: pure; the caller brings the random number."""

from typing import Final

FIRST_S: Final = 0.25
CAP_S: Final = 8.0


def delay(failures: int, jitter: float, asked_s: float = 0.0) -> float:
    """Seconds before the next try after `failures` (from 1) in a row.

    Exponential up to CAP_S with full jitter (`jitter` in [0, 1)), so that workers who failed together do not come back
    together. asked_s: what the source asked for with Retry-After; never less than that.
    """
    return max(asked_s, min(CAP_S, FIRST_S * 2.0 ** min(failures - 1, 10)) * (0.5 + jitter / 2))
