"""How many instances a revision gets, as a function of its load."""

import pytest

from kn_model.local.serving.autoscaler import Decision, Load, Policy, Sample, decide, policy
from kn_model.local.serving.meter import Meter

PREFIX = "autoscaling.knative.dev/"


def steady(concurrency: float, *, until: float = 60.0, ticks: int = 30) -> tuple[Sample, ...]:
    """The same concurrency at every tick of 2 s up to `until`."""
    return tuple(Sample(until - 2.0 * (ticks - 1 - number), concurrency) for number in range(ticks))


def load(**values: object) -> Load:
    """A load with one idle ready instance, unless told otherwise."""
    return Load(**{"samples": (), "ready": 1, "open_calls": 0, "last_busy": 0.0, "current": 1} | values)  # type: ignore[arg-type]


def test_annotations_become_a_policy() -> None:
    """All that a manifest may say is read; utilisation is part of the target."""
    annotations = {
        PREFIX + "min-scale": "1",
        PREFIX + "max-scale": "4",
        PREFIX + "target": "10",
        PREFIX + "target-utilization-percentage": "50",
        PREFIX + "window": "1m30s",
        PREFIX + "scale-to-zero-pod-retention-period": "2m",
        PREFIX + "scale-down-delay": "15s",
    }
    expected = Policy(1, 4, 1, target=5.0, window_s=90.0, retention_s=120.0, scale_down_delay_s=15.0)
    assert policy(annotations, 0) == expected


def test_a_hard_limit_is_a_target_too() -> None:
    """`containerConcurrency` lowers the target, and `target` may lower it further."""
    assert policy({}, 10).target == pytest.approx(7.0)
    assert policy({PREFIX + "target": "20"}, 10).target == pytest.approx(7.0)
    assert policy({PREFIX + "target": "5"}, 10).target == pytest.approx(3.5)


@pytest.mark.parametrize(
    ("concurrency", "expected"), [(0.1, 1), (7.0, 1), (7.1, 2), (70.0, 10)], ids=["little", "full", "over", "ten"]
)
def test_load_decides_the_number(concurrency: float, expected: int) -> None:
    """Mean concurrency over target, rounded up."""
    rules = Policy(target=7.0)
    assert decide(rules, load(samples=steady(concurrency), ready=10, current=expected), 60.0).scale == expected


def test_the_number_stays_within_min_and_max() -> None:
    """Bounds hold against any load, and none."""
    assert decide(Policy(max_scale=3, target=1.0), load(samples=steady(50.0), ready=3), 60.0).scale == 3
    assert decide(Policy(min_scale=2), load(ready=2), 1000.0).scale == 2


def test_the_last_instance_stays_for_window_and_retention() -> None:
    """Idle for the window plus the retention period, and not a moment less."""
    rules = Policy(window_s=60.0, retention_s=30.0)
    assert decide(rules, load(last_busy=0.0), 89.9).scale == 1
    assert decide(rules, load(last_busy=0.0), 90.0).scale == 0


def test_an_open_call_keeps_an_instance() -> None:
    """However long ago the last one ended."""
    assert decide(Policy(), load(open_calls=1), 10_000.0).scale == 1


def test_nothing_is_started_for_nobody() -> None:
    """Without instances and calls, none is wanted, even inside the window."""
    assert decide(Policy(), load(ready=0, current=0, last_busy=59.0), 60.0).scale == 0


def test_a_burst_panics_and_does_not_shrink_until_calm() -> None:
    """Twice the capacity within a tenth of the window scales at once, and the number holds for one window."""
    rules = Policy(target=10.0, window_s=60.0)
    burst = (*steady(0.0, until=54.0, ticks=27), *steady(100.0, until=60.0, ticks=3))
    panicking = decide(rules, load(samples=burst), 60.0)
    assert panicking == Decision(10, panic_since=60.0)
    calm = load(samples=steady(0.0, until=100.0), ready=10, current=10, panic_since=60.0, last_busy=62.0)
    assert decide(rules, calm, 100.0).scale == 10
    assert decide(rules, calm, 121.0).panic_since is None


def test_scale_down_waits_for_its_delay() -> None:
    """The number goes down only after all of the delay wanted less."""
    rules = Policy(target=1.0, window_s=6.0, scale_down_delay_s=30.0)
    samples = (*steady(3.0, until=40.0, ticks=10), *steady(1.0, until=60.0, ticks=10))
    assert decide(rules, load(samples=samples, ready=3, current=3, last_busy=60.0), 60.0).scale == 3
    later = (*samples, *steady(1.0, until=80.0, ticks=10))
    assert decide(rules, load(samples=later, ready=3, current=3, last_busy=80.0), 80.0).scale == 1


def test_an_unreachable_revision_ignores_min_scale() -> None:
    """Nobody can call it, so nothing runs for it; a call that is still open keeps one."""
    assert decide(Policy(min_scale=3), load(reachable=False), 1.0).scale == 0
    assert decide(Policy(min_scale=3), load(reachable=False, open_calls=1), 1.0).scale == 1


def test_the_meter_averages_over_time() -> None:
    """Two calls for half of an interval are a concurrency of one; idle time starts when the last call ends."""
    meter = Meter(0.0)
    meter.opened(0.0)
    meter.opened(0.0)
    meter.closed(1.0)
    meter.closed(1.0)
    meter.sample(2.0, keep_s=60)
    assert list(meter.samples) == [Sample(2.0, 1.0)]
    assert (meter.open_calls, meter.last_busy(2.0)) == (0, 1.0)


def test_the_meter_forgets() -> None:
    """Samples older than asked for are dropped, so memory is bounded."""
    meter = Meter(0.0)
    for tick in range(1, 100):
        meter.sample(2.0 * tick, keep_s=10)
    assert len(meter.samples) == 6
