"""Rules for Brokers and Triggers, for deliveries and for destinations.

Tables `BROKER_RULES`, `TRIGGER_RULES`, `DELIVERY_RULES`. Sources: knative.dev/eventing
`pkg/apis/eventing/v1/*_validation.go`, `pkg/apis/duck/v1/delivery_types.go`; knative.dev/pkg `apis/duck/v1/destination.go`.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from kn_model.local.admission.container import each
from kn_model.local.admission.defaults import BROKER_CLASS
from kn_model.local.admission.finding import (
    Finding,
    Findings,
    disallowed,
    invalid,
    missing,
    under,
)
from kn_model.local.admission.formats import iso_period
from kn_model.local.admission.serving import ObjectRule, Review

Value: TypeAlias = Mapping[str, Any]
DIALECTS: Final = ("exact", "prefix", "suffix", "all", "any", "not", "cesql")
_ATTRIBUTE: Final = re.compile(r"[a-z][a-z0-9]*")


def destination(value: Value) -> Findings:
    """Where events go: a reference, an absolute address, or a reference with a path below it."""
    reference, uri = value.get("ref"), value.get("uri", "")
    if not reference and not uri:
        yield Finding("expected at least one, got none", ("ref", "uri"))
    if reference:
        absent = [field for field in ("name", "kind", "apiVersion") if not reference.get(field)]
        if absent:
            yield from under("ref", [missing(*absent)])
        if "://" in uri:
            yield Finding("Absolute URI is not allowed when Ref or [apiVersion, kind, name] is present", ("ref", "uri"))
    elif uri and "://" not in uri:
        yield invalid("Relative URI is not allowed when Ref and [apiVersion, kind, name] is absent", "uri")


def retry_count(delivery: Value) -> Findings:
    """Retries are counted from 0."""
    if delivery.get("retry", 0) < 0:
        yield invalid(delivery["retry"], "retry")


def retry_policy(delivery: Value) -> Findings:
    """Back-off grows linearly or doubles."""
    policy = delivery.get("backoffPolicy", "linear")
    if policy not in ("linear", "exponential"):
        yield invalid(policy, "backoffPolicy")


def delivery_periods(delivery: Value) -> Findings:
    """Delay and timeout are ISO 8601, and a timeout of nothing is none."""
    if "backoffDelay" in delivery and iso_period(delivery["backoffDelay"]) is None:
        yield invalid(delivery["backoffDelay"], "backoffDelay")
    if "timeout" in delivery and not iso_period(delivery["timeout"]):
        yield invalid(delivery["timeout"], "timeout")


def delivery_gated(delivery: Value) -> Findings:
    """RetryAfterMax needs the feature `delivery-retryafter`, which a fresh installation has off."""
    if "retryAfterMax" in delivery:
        yield disallowed("retryAfterMax")


def delivery_format(delivery: Value) -> Findings:
    """Events are delivered structured (json) or binary."""
    if delivery.get("format", "json") not in ("json", "binary"):
        yield invalid(delivery["format"], "format")


def dead_letters(delivery: Value) -> Findings:
    """A dead letter sink is a destination."""
    if delivery.get("deadLetterSink") is not None:
        yield from under("deadLetterSink", destination(delivery["deadLetterSink"]))


DELIVERY_RULES: Final[tuple[Callable[[Value], Findings], ...]] = (
    retry_count,
    retry_policy,
    delivery_periods,
    delivery_gated,
    delivery_format,
    dead_letters,
)


def delivery_valid(review: Review) -> Findings:
    """The delivery keeps `DELIVERY_RULES`."""
    for rule in DELIVERY_RULES:
        yield from under("spec.delivery", rule(review.obj["spec"].get("delivery") or {}))


def broker_config(review: Review) -> Findings:
    """A config is a complete reference; it may lie in another namespace."""
    config = review.obj["spec"].get("config")
    absent = [field for field in ("name", "kind", "apiVersion") if not config.get(field)] if config else []
    if absent:
        yield from under("spec.config", [missing(*absent)])


def broker_class_given(review: Review) -> Findings:
    """Some implementation has to feel responsible."""
    if not review.annotations.get(BROKER_CLASS):
        yield missing(BROKER_CLASS)


def broker_fixed(review: Review) -> Findings:
    """Class and config are for life: another one means another broker."""
    if review.old is None:
        return
    before = (review.old["metadata"].get("annotations") or {}).get(BROKER_CLASS)
    now = review.annotations.get(BROKER_CLASS)
    if before != now:
        yield Finding("Immutable fields changed (-old +new)", ("annotations",), f"-{before}\n+{now}")
    if review.old["spec"].get("config") != review.obj["spec"].get("config"):
        details = f"-{json.dumps(review.old['spec'].get('config'))}\n+{json.dumps(review.obj['spec'].get('config'))}"
        yield Finding("Immutable fields changed (-old +new)", ("spec", "config"), details)


def trigger_broker(review: Review) -> Findings:
    """A Trigger belongs to one Broker."""
    if not review.obj["spec"].get("broker") and not review.obj["spec"].get("brokerRef"):
        yield from under("spec", [missing("broker")])


def trigger_fixed(review: Review) -> Findings:
    """And to that one only."""
    if review.old is not None and review.old["spec"].get("broker") != review.obj["spec"].get("broker"):
        details = f"-{review.old['spec'].get('broker')}\n+{review.obj['spec'].get('broker')}"
        yield Finding("Immutable fields changed (-old +new)", ("spec", "broker"), details)


def trigger_subscriber(review: Review) -> Findings:
    """Its events go somewhere."""
    yield from under("spec.subscriber", destination(review.obj["spec"].get("subscriber") or {}))


def trigger_attributes(review: Review) -> Findings:
    """The old filter compares attributes, whose names are lower-case letters and digits."""
    for name in (review.obj["spec"].get("filter") or {}).get("attributes") or {}:
        if not _ATTRIBUTE.fullmatch(name):
            yield from under("spec.filter.attributes", [_bad_attribute(name)])


def trigger_filters(review: Review) -> Findings:
    """Each of the new filters speaks one dialect and keeps its form."""
    yield from under("spec", each("filters", review.obj["spec"].get("filters") or (), filter_valid))


def filter_valid(value: Value) -> Findings:
    """One filter expression; called for itself on what it contains. One without any dialect is valid, and without effect.

    An empty value passes Knative's webhook, but makes its filter drop the whole expression: refused here.
    """
    chosen = [dialect for dialect in DIALECTS if value.get(dialect) or (dialect == "not" and "not" in value)]
    if len(chosen) > 1:
        yield Finding(f"multiple dialects found, filters can have only one dialect set: {', '.join(chosen)}")
    for dialect in ("exact", "prefix", "suffix"):
        if dialect in value:
            yield from under(dialect, _attributes(value[dialect]))
    for dialect in ("all", "any"):
        if dialect in value:
            yield from each(dialect, value[dialect], filter_valid)
    if "not" in value:
        yield from under("not", filter_valid(value["not"]))


def _attributes(expected: Mapping[str, str]) -> Findings:
    for name, value in expected.items():
        if not _ATTRIBUTE.fullmatch(name):
            yield _bad_attribute(name)
        if not value:
            yield invalid(value, name)


def _bad_attribute(name: str) -> Finding:
    details = "Attribute name must start with a letter and can only contain lowercase alphanumeric"
    return Finding(f"invalid attribute name: {name!r}", details=details)


BROKER_RULES: Final[tuple[ObjectRule, ...]] = (broker_class_given, broker_config, delivery_valid, broker_fixed)
TRIGGER_RULES: Final[tuple[ObjectRule, ...]] = (
    trigger_broker,
    trigger_subscriber,
    trigger_attributes,
    trigger_filters,
    delivery_valid,
    trigger_fixed,
)
