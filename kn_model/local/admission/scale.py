"""Rules for the autoscaling annotations of a revision template; where else they are refused is in `serving`.

Table `ANNOTATION_RULES`; each rule yields findings relative to the annotations.
Source: knative.dev/serving `pkg/apis/autoscaling/annotation_validation.go`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from kn_model.local.admission.config import ClusterConfig
from kn_model.local.admission.finding import INT32_MAX, Finding, Findings, invalid, out_of_bounds
from kn_model.local.admission.formats import go_duration

DOMAIN: Final = "autoscaling.knative.dev"
_KPA: Final = "kpa.autoscaling.knative.dev"
_HPA: Final = "hpa.autoscaling.knative.dev"
# An hour: longer windows would need more memory for metrics than the autoscaler keeps.
_WINDOW_MAX_S: Final = 3600.0
# Below this there are too few samples to decide on.
_WINDOW_MIN_S: Final = 6.0
_TARGET_MIN: Final = 0.01
_ALGORITHMS: Final = frozenset({"", "linear", "weightedExponential", "weighted-exponential"})

Annotations: TypeAlias = Mapping[str, str]
AnnotationRule: TypeAlias = Callable[[Annotations, ClusterConfig], Findings]


def pick(annotations: Annotations, name: str) -> tuple[str, str] | None:
    """The key and value of `autoscaling.knative.dev/<name>`, or of its older camel-case spelling; None when unset."""
    camel = re.sub(r"-(\w)", lambda found: found.group(1).upper(), name)
    keys = (f"{DOMAIN}/{name}", f"{DOMAIN}/{camel}")
    return next(((key, annotations[key]) for key in keys if key in annotations), None)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _integer(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else None


def _count(annotations: Annotations, name: str) -> int:
    found = pick(annotations, name)
    return (_integer(found[1]) or 0) if found else 0


def known_class(annotations: Annotations, config: ClusterConfig) -> Findings:
    """A class in Knative's domain has to be one of Knative's."""
    del config
    found = pick(annotations, "class")
    if found and found[1].endswith(DOMAIN) and found[1] not in (_KPA, _HPA):
        yield invalid(found[1], found[0])


def whole_scales(annotations: Annotations, config: ClusterConfig) -> Findings:
    """min-scale and max-scale are counts."""
    del config
    for name in ("min-scale", "max-scale"):
        if found := pick(annotations, name):
            key, text = found
            value = _integer(text)
            if value is None:
                yield invalid(text, key)
            elif not 0 <= value <= INT32_MAX:
                yield out_of_bounds(text, 0, INT32_MAX, key)


def ordered_scales(annotations: Annotations, config: ClusterConfig) -> Findings:
    """max-scale is not below min-scale; 0 is unlimited."""
    del config
    low, high = _count(annotations, "min-scale"), _count(annotations, "max-scale")
    if high and high < low:
        keys = (f"{DOMAIN}/max-scale", f"{DOMAIN}/min-scale")
        yield Finding(f"max-scale={high} is less than min-scale={low}", keys)


def limited_scale(annotations: Annotations, config: ClusterConfig) -> Findings:
    """max-scale stays under the cluster's `max-scale-limit`."""
    found, limit = pick(annotations, "max-scale"), config.max_scale_limit
    if not found or not limit:
        return
    high = _count(annotations, "max-scale")
    if high > limit:
        yield out_of_bounds(high, 1, limit, found[0])
    if high == 0:
        yield Finding(f"max-scale=0 (unlimited), must be less than {limit}", (found[0],))


def activation_scale(annotations: Annotations, config: ClusterConfig) -> Findings:
    """activation-scale lies between min and max; 1 is what happens without it."""
    del config
    found = pick(annotations, "activation-scale")
    if not found:
        return
    key, value = found[0], _integer(found[1])
    low, high = _count(annotations, "min-scale"), _count(annotations, "max-scale")
    if value is None:
        yield invalid(found[1], key)
    elif low > value:
        yield Finding(f"min-scale={low} is greater than min-activate-scale={value}", (key,))
    elif high and high < value:
        yield Finding(f"max-scale={high} is less than min-activate-scale={value}", (key,))
    elif value <= 1:
        yield Finding(f"min-activate-scale={value} must be greater than 1", (key,))


def initial_scale(annotations: Annotations, config: ClusterConfig) -> Findings:
    """initial-scale is a count; 0 only where the cluster allows it."""
    found = pick(annotations, "initial-scale")
    if not found:
        return
    key, value = found[0], _integer(found[1])
    if value is None:
        yield invalid(found[1], key)
    elif value < 0:
        yield invalid(found[1], f"{key} must be greater than 0")
    elif value == 0 and not config.zero_initial_scale:
        yield invalid(found[1], f"{key}=0 not allowed by cluster")


def target(annotations: Annotations, config: ClusterConfig) -> Findings:
    """What to aim at is a number of at least 0.01."""
    del config
    if found := pick(annotations, "target"):
        value = _number(found[1])
        if value is None:
            yield invalid(found[1], found[0])
        elif value < _TARGET_MIN:
            yield Finding(f"target {found[1]} should be at least {_TARGET_MIN}", (found[0],))


_PERCENTAGES: Final = {
    "target-utilization-percentage": (1.0, 100.0),
    "panic-window-percentage": (1.0, 100.0),
    "panic-threshold-percentage": (110.0, 1000.0),
}


def percentages(annotations: Annotations, config: ClusterConfig) -> Findings:
    """The percentages have ranges of their own."""
    del config
    for name, (low, high) in _PERCENTAGES.items():
        if found := pick(annotations, name):
            value = _number(found[1])
            if value is None:
                yield invalid(found[1], found[0])
            elif not low <= value <= high:
                yield out_of_bounds(found[1], f"{low:g}", f"{high:g}", found[0])


def burst_capacity(annotations: Annotations, config: ClusterConfig) -> Findings:
    """target-burst-capacity is -1 (always through the activator) or at least 0."""
    del config
    if found := pick(annotations, "target-burst-capacity"):
        value = _number(found[1])
        if value is None or (value < 0 and value != -1):
            yield invalid(found[1], found[0])


def window(annotations: Annotations, config: ClusterConfig) -> Findings:
    """window: 6 s to 1 h, in whole seconds."""
    del config
    yield from _duration(annotations, "window", low=_WINDOW_MIN_S, shown="6s")


def retention(annotations: Annotations, config: ClusterConfig) -> Findings:
    """scale-to-zero-pod-retention-period: up to 1 h."""
    del config
    yield from _duration(annotations, "scale-to-zero-pod-retention-period", whole=False)


def scale_down_delay(annotations: Annotations, config: ClusterConfig) -> Findings:
    """scale-down-delay: up to 1 h, in whole seconds."""
    del config
    yield from _duration(annotations, "scale-down-delay")


def _duration(
    annotations: Annotations, name: str, *, low: float = 0.0, shown: str = "0s", whole: bool = True
) -> Findings:
    found = pick(annotations, name)
    if not found:
        return
    key, text = found
    seconds = go_duration(text)
    if seconds is None:
        yield invalid(text, key)
    elif not low <= seconds <= _WINDOW_MAX_S:
        yield out_of_bounds(text, shown, "1h0m0s", key)
    elif whole and not seconds.is_integer():
        yield Finding("must be specified with at most second precision", (key,))


def metric(annotations: Annotations, config: ClusterConfig) -> Findings:
    """Knative's own autoscaler counts concurrency or requests per second; the HPA takes any metric that has a name."""
    del config
    found = pick(annotations, "metric")
    if not found:
        return
    chosen = (pick(annotations, "class") or ("", _KPA))[1]
    unknown = chosen == _KPA and found[1] not in ("concurrency", "rps")
    if unknown or (chosen == _HPA and not found[1]):
        yield invalid(found[1], found[0])


def algorithm(annotations: Annotations, config: ClusterConfig) -> Findings:
    """metric-aggregation-algorithm, checked only where the class is said to be Knative's own, as Knative does."""
    del config
    found = pick(annotations, "metric-aggregation-algorithm")
    chosen = pick(annotations, "class")
    if found and chosen and chosen[1] == _KPA and found[1] not in _ALGORITHMS:
        yield invalid(found[1], found[0])


ANNOTATION_RULES: Final[tuple[AnnotationRule, ...]] = (
    known_class,
    whole_scales,
    ordered_scales,
    limited_scale,
    activation_scale,
    initial_scale,
    target,
    percentages,
    burst_capacity,
    window,
    retention,
    scale_down_delay,
    metric,
    algorithm,
)
