"""Counts the open calls of one revision over time: what the autoscaler decides on.

Pure bookkeeping on a clock that the caller reads; used by `replicas.py`.
"""

from collections import deque

from kn_model.local.serving.autoscaler import Sample


class Meter:
    """The number of open calls (held and in flight), and its mean over each interval between two samples."""

    def __init__(self, now: float) -> None:
        self.open_calls = 0
        self.samples: deque[Sample] = deque()
        self._call_seconds = 0.0
        self._counted_until = now
        self._sampled_at = now
        self._last_busy = now

    def opened(self, now: float) -> None:
        """A call arrived."""
        self._count(now)
        self.open_calls += 1

    def closed(self, now: float) -> None:
        """A call is over."""
        self._count(now)
        self.open_calls -= 1
        self._last_busy = now

    def busy(self, now: float) -> None:
        """Something else than a call makes this moment count as busy: an instance became ready."""
        self._last_busy = max(self._last_busy, now)

    def last_busy(self, now: float) -> float:
        """When a call was last open."""
        return now if self.open_calls else self._last_busy

    def sample(self, now: float, *, keep_s: float) -> None:
        """Close the interval since the last sample, and forget what is older than `keep_s` seconds."""
        self._count(now)
        if now > self._sampled_at:
            self.samples.append(Sample(now, self._call_seconds / (now - self._sampled_at)))
        self._call_seconds, self._sampled_at = 0.0, now
        while self.samples and self.samples[0].at < now - keep_s:
            self.samples.popleft()

    def _count(self, now: float) -> None:
        self._call_seconds += self.open_calls * (now - self._counted_until)
        self._counted_until = now
