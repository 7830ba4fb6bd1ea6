"""Rate and time left of a download, from stored values and `now`."""

from datetime import UTC, datetime, timedelta

import pytest

from functions.status.progress import FRESH_S, MAX_ETA_S, Transfer, current_rate, eta, total_rate

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def transfer(*, status: str = "transferring", rate: float = 100.0, silent_s: float = 1.0) -> Transfer:
    """A file of 1000 bytes with 400 done, whose progress was stored `silent_s` ago."""
    return Transfer(status, 1000, 400, rate, NOW - timedelta(seconds=silent_s))


def test_a_moving_file_has_its_stored_rate() -> None:
    """While parts arrive, the rate is what the download last measured."""
    assert current_rate(transfer(), NOW) == 100.0


def test_a_silent_transfer_has_no_rate() -> None:
    """A stalled download must not promise an end: its last rate ages out."""
    assert current_rate(transfer(silent_s=FRESH_S + 1), NOW) == 0.0


@pytest.mark.parametrize("status", ["pending", "verified", "failed"])
def test_only_a_transfer_has_a_rate(status: str) -> None:
    """A file that waits, is done or has failed moves no bytes."""
    assert current_rate(transfer(status=status), NOW) == 0.0


def test_rates_of_parallel_files_add_up() -> None:
    """A model's rate is that of all its files together."""
    assert total_rate([transfer(), transfer(rate=50.0), transfer(silent_s=999)], NOW) == 150.0


@pytest.mark.parametrize(
    ("done", "total", "rate", "expected"),
    [
        (400, 1000, 100.0, 6.0),
        (1000, 1000, 0.0, 0.0),
        (400, 1000, 0.0, None),
        (400, None, 100.0, None),
        (0, 10**15, 1.0, None),
        (0, 100, 100 / MAX_ETA_S, MAX_ETA_S),
    ],
    ids=["moving", "complete", "stalled", "size unknown", "beyond reason", "just within reason"],
)
def test_the_end_is_named_only_when_it_is_known(
    done: int, total: int | None, rate: float, expected: float | None
) -> None:
    """Seconds left are bytes left over the rate; null wherever that would be invented."""
    assert eta(done, total, rate) == expected
