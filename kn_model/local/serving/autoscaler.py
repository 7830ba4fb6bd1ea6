"""How many instances a revision should have: Knative's pod autoscaler (KPA) as a function of values.

Pure: called by `replicas.py` every TICK_S while a revision has instances or held calls. What is kept of the KPA: stable
and panic window, target and its utilisation, min, max and initial scale, scale-down delay, retention of the last instance.
What is not: scale rates and the grace period for networks to be reprogrammed (there is no network here).
Source: knative/serving `pkg/autoscaler/scaling/autoscaler.go`, `pkg/reconciler/autoscaling/kpa/scaler.go`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kn_model.local.serving.quantities import seconds

TICK_S: Final = 2.0
"""The KPA's own period."""
_PREFIX: Final = "autoscaling.knative.dev/"
_PANIC_WINDOW: Final = 0.10
"""Of the stable window: `panic-window-percentage` 10."""
_PANIC_THRESHOLD: Final = 2.0
"""Load over capacity from which on the short window decides: `panic-threshold-percentage` 200."""
_DEFAULT_TARGET: Final = 100.0
_DEFAULT_UTILIZATION: Final = 0.7


@dataclass(frozen=True, slots=True)
class Policy:
    """The autoscaling annotations of a revision. Times in seconds."""

    min_scale: int = 0
    max_scale: int = 0
    """0 is unlimited."""
    initial_scale: int = 1
    target: float = _DEFAULT_TARGET * _DEFAULT_UTILIZATION
    """Calls at once per instance to aim at, utilisation included."""
    window_s: float = 60.0
    retention_s: float = 0.0
    """How long the last instance stays after its window went idle."""
    scale_down_delay_s: float = 0.0

    def bounded(self, wanted: int) -> int:
        """`wanted` within min and max."""
        capped = min(wanted, self.max_scale) if self.max_scale else wanted
        return max(capped, self.min_scale)


@dataclass(frozen=True, slots=True)
class Sample:
    """The mean number of calls at once in the interval that ended `at` (monotonic seconds)."""

    at: float
    concurrency: float


@dataclass(frozen=True, slots=True)
class Load:
    """What is known of a revision when the autoscaler looks."""

    samples: Sequence[Sample]
    """One per tick, oldest first, at least as far back as the longest of window and delay."""
    ready: int
    open_calls: int
    """In flight or held, right now."""
    last_busy: float
    """When a call was last open (monotonic seconds), or when the first instance became ready."""
    reachable: bool = True
    """Whether a route or tag leads to it: min-scale does not hold for what nobody can call."""
    panic_since: float | None = None
    current: int = 0
    """Instances that are running or starting."""


@dataclass(frozen=True, slots=True)
class Decision:
    """How many instances to have, and since when the panic window decides."""

    scale: int
    panic_since: float | None = None


def policy(annotations: Mapping[str, str], container_concurrency: int) -> Policy:
    """Read a revision's annotations. A hard limit lowers the target, as `target` alone cannot be over it."""

    def number(name: str, default: float) -> float:
        return float(annotations.get(_PREFIX + name, default))

    def duration(name: str, default: str) -> float:
        return seconds(annotations.get(_PREFIX + name, default))

    target = number("target", container_concurrency or _DEFAULT_TARGET)
    if container_concurrency:
        target = min(target, container_concurrency)
    return Policy(
        min_scale=int(number("min-scale", 0)),
        max_scale=int(number("max-scale", 0)),
        initial_scale=int(number("initial-scale", 1)),
        target=max(0.01, target * number("target-utilization-percentage", _DEFAULT_UTILIZATION * 100) / 100),
        window_s=duration("window", "60s"),
        retention_s=duration("scale-to-zero-pod-retention-period", "0s"),
        scale_down_delay_s=duration("scale-down-delay", "0s"),
    )


def decide(rules: Policy, load: Load, now: float) -> Decision:
    """The number of instances for this moment. An open call always keeps one: it is never stopped under its feet."""
    if not load.reachable:
        return Decision(1 if load.open_calls else 0)
    stable = _wanted(rules, load, now, rules.window_s)
    panic = _wanted(rules, load, now, rules.window_s * _PANIC_WINDOW)
    panic_since = _panic_since(rules, load, now, panic)
    wanted = max(stable, panic, load.current) if panic_since is not None else stable
    wanted = max(wanted, _delayed(rules, load, now))
    if wanted == 0 and _needs_the_last(rules, load, now):
        wanted = 1
    return Decision(rules.bounded(wanted), panic_since)


def _wanted(rules: Policy, load: Load, now: float, window_s: float) -> int:
    recent = [sample.concurrency for sample in load.samples if now - window_s < sample.at <= now]
    mean = sum(recent) / len(recent) if recent else 0.0
    return math.ceil(mean / rules.target)


def _panic_since(rules: Policy, load: Load, now: float, panic: int) -> float | None:
    if panic >= _PANIC_THRESHOLD * max(1, load.ready):
        return now
    over = load.panic_since is None or now - load.panic_since > rules.window_s
    return None if over else load.panic_since


def _delayed(rules: Policy, load: Load, now: float) -> int:
    """With a scale-down delay, the most that was wanted within it: the number goes down only when all agree."""
    if not rules.scale_down_delay_s or not load.current:
        return 0
    moments = [sample.at for sample in load.samples if sample.at > now - rules.scale_down_delay_s]
    return min(load.current, max((_wanted(rules, load, at, rules.window_s) for at in moments), default=0))


def _needs_the_last(rules: Policy, load: Load, now: float) -> bool:
    idle_s = now - load.last_busy
    return bool(load.open_calls or (load.current and idle_s < rules.window_s + rules.retention_s))
