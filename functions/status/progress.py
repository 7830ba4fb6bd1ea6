"""How far a download is: rate and time left, from stored values and `now`. Pure; the views call it.

The function `download` writes bytes_done and rate_bps of a file as it stores parts. What is stored last stays when a
transfer stalls, so a rate counts only while it is fresh: a stalled download must not promise an end.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

# A transfer stores its progress with every part, seconds apart; after a minute of silence its rate says nothing.
FRESH_S: Final = 60.0
# Days of remaining time are noise: a rate this low is shown, an end is not.
MAX_ETA_S: Final = 7 * 24 * 3600.0

TRANSFERRING: Final = "transferring"


@dataclass(frozen=True, slots=True)
class Transfer:
    """The stored progress of one file. Sizes in bytes, rate in bytes per second; size is None until it is known."""

    status: str
    size: int | None
    bytes_done: int
    rate_bps: float
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Sums:
    """The files of a model together: how many, how many of them verified or under way, and their bytes."""

    files: int
    verified: int
    moving: int
    bytes_done: int
    bytes_total: int | None


def current_rate(transfer: Transfer, now: datetime) -> float:
    """Bytes per second at `now`: 0 unless the file is being transferred and said so within FRESH_S."""
    if transfer.status != TRANSFERRING:
        return 0.0
    silent_s = (now - transfer.updated_at).total_seconds()
    return max(0.0, transfer.rate_bps) if silent_s <= FRESH_S else 0.0


def file_phase(transfer: Transfer, error: str | None, now: datetime) -> str:
    """What a file is doing: queued, transferring, waiting (for its source or for S3, after an error), verifying, or done."""
    if transfer.status in {"verified", "failed"}:
        return transfer.status
    if error and not current_rate(transfer, now):
        return "waiting"
    if transfer.status != TRANSFERRING:
        return "queued"
    return "verifying" if transfer.size is not None and transfer.bytes_done >= transfer.size else TRANSFERRING


def model_phase(status: str, files: Sums, error: str | None, rate_bps: float) -> str:
    """What a model is doing: its state, and while it is being downloaded what its files make of that."""
    if status != "downloading":
        return status
    if not files.files or files.verified == files.files:
        return "publishing" if files.files else "planning"
    if error and not rate_bps:
        return "waiting"
    if files.bytes_total is not None and files.bytes_done >= files.bytes_total:
        return "verifying"
    return TRANSFERRING if files.moving else "queued"


def total_rate(transfers: Iterable[Transfer], now: datetime) -> float:
    """Bytes per second over files that are transferred side by side."""
    return sum(current_rate(transfer, now) for transfer in transfers)


def eta(bytes_done: int, bytes_total: int | None, rate_bps: float) -> float | None:
    """Seconds until everything is there: 0 when it is, None when nothing says so."""
    if bytes_total is None:
        return None
    left = bytes_total - bytes_done
    if left <= 0:
        return 0.0
    if rate_bps <= 0:
        return None
    seconds = left / rate_bps
    return round(seconds, 1) if seconds <= MAX_ETA_S else None
