"""Rules for Brokers, Triggers, PingSources and ApiServerSources.

Tables `BROKER_RULES`, `TRIGGER_RULES`, `PING_SOURCE_RULES`, `API_SERVER_SOURCE_RULES`, `DELIVERY_RULES`.
Sources: knative.dev/eventing `pkg/apis/eventing/v1/*_validation.go`, `pkg/apis/duck/v1/delivery_types.go`,
`pkg/apis/sources/v1/*_validation.go`, and for destinations knative.dev/pkg `apis/duck/v1/destination.go`.
"""

import base64
import binascii
import json
import re
import zoneinfo
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from kn_model.local.admission_container import each
from kn_model.local.admission_defaults import BROKER_CLASS
from kn_model.local.admission_finding import (
    Finding,
    Findings,
    disallowed,
    invalid,
    missing,
    missing_one_of,
    multiple_one_of,
    under,
)
from kn_model.local.admission_formats import iso_period
from kn_model.local.admission_serving import ObjectRule, Review

Value: TypeAlias = Mapping[str, Any]
DIALECTS: Final = ("exact", "prefix", "suffix", "all", "any", "not", "cesql")
_ATTRIBUTE: Final = re.compile(r"[a-z][a-z0-9]*")
# The five fields of cron, an optional one for seconds before them, or a named schedule.
_CRON_FIELDS: Final = (5, 6)
_CRON_FIELD: Final = re.compile(r"[0-9A-Za-z*/,?-]+")
_CRON_NAMED: Final = re.compile(r"@(yearly|annually|monthly|weekly|daily|midnight|hourly)")


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
    """One filter expression; called for itself on what it contains."""
    chosen = [dialect for dialect in DIALECTS if dialect in value]
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


def source_sink(review: Review) -> Findings:
    """A source sends somewhere."""
    yield from under("spec.sink", destination(review.obj["spec"].get("sink") or {}))


def source_overrides(review: Review) -> Findings:
    """Extensions that a source adds have names of extensions."""
    extensions = (review.obj["spec"].get("ceOverrides") or {}).get("extensions") or {}
    for name in extensions:
        if not re.fullmatch(r"[a-z0-9]{1,20}", name):
            details = "CloudEvent attributes are lower-case letters and digits, at most 20"
            yield Finding(f"invalid key name {name!r}", (f"spec.ceOverrides.extensions.{name}",), details)


def ping_schedule(review: Review) -> Findings:
    """Cron in five fields, six with seconds, or a named schedule; `@every` drifts and is refused."""
    schedule = review.obj["spec"].get("schedule", "")
    fields = schedule.split()
    if "@every" in schedule:
        yield from under("spec", [invalid("unsupported descriptor @every", "schedule")])
    elif not _CRON_NAMED.fullmatch(schedule) and (
        len(fields) not in _CRON_FIELDS or not all(map(_CRON_FIELD.fullmatch, fields))
    ):
        yield from under("spec", [invalid(f"expected 5 to 6 fields, found {len(fields)}: [{schedule}]", "schedule")])


def ping_timezone(review: Review) -> Findings:
    """A timezone of the IANA database."""
    name = review.obj["spec"].get("timezone", "")
    if name and name not in zoneinfo.available_timezones():
        yield from under("spec", [invalid(f"provided bad location {name}: unknown time zone {name}", "timezone")])


def ping_data(review: Review) -> Findings:
    """Data as text or base64, not both; JSON when it says so."""
    spec = review.obj["spec"]
    if spec.get("data") and spec.get("dataBase64"):
        yield from under("spec", [multiple_one_of("data", "dataBase64")])
        return
    field = "dataBase64" if spec.get("dataBase64") else "data"
    text = spec.get(field, "")
    if problem := _data_problem(text, encoded=field == "dataBase64", as_json=spec.get("contentType") == _JSON):
        yield from under("spec", [invalid(problem, field)])


_JSON: Final = "application/json"


def _data_problem(text: str, *, encoded: bool, as_json: bool) -> str:
    if not text:
        return ""
    try:
        plain = base64.b64decode(text, validate=True) if encoded else text.encode()
        if as_json and not isinstance(json.loads(plain), dict):
            return "the data is not a JSON object"
    except (binascii.Error, ValueError) as error:
        return str(error)
    return ""


def watched_mode(review: Review) -> Findings:
    """The events carry the object or a reference to it."""
    mode = review.obj["spec"].get("mode", "")
    if mode not in ("Reference", "Resource"):
        yield from under("spec", [invalid(mode, "mode")])


def watched_resources(review: Review) -> Findings:
    """It watches something, and each entry says what."""
    resources = review.obj["spec"].get("resources") or ()
    if not resources:
        yield from under("spec", [missing("resources")])

    def one(resource: Value) -> Findings:
        if resource.get("apiVersion", "").count("/") > 1 or not resource.get("apiVersion"):
            yield invalid(resource.get("apiVersion", ""), "apiVersion")
        if not resource.get("kind", "").strip():
            yield missing("kind")

    yield from under("spec", each("resources", resources, one))


def watched_selectors(review: Review) -> Findings:
    """Label selectors are Kubernetes': a known operator, and values where it compares."""

    def one(resource: Value) -> Findings:
        yield from under(
            "selector",
            each("matchExpressions", (resource.get("selector") or {}).get("matchExpressions") or (), _expression),
        )

    yield from under("spec", each("resources", review.obj["spec"].get("resources") or (), one))


def _expression(expression: Value) -> Findings:
    operator, values = expression.get("operator"), expression.get("values")
    if operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
        yield invalid(operator, "operator")
    elif operator in ("In", "NotIn") and not values:
        yield missing_one_of("values")
    elif operator in ("Exists", "DoesNotExist") and values:
        yield disallowed("values")


BROKER_RULES: Final[tuple[ObjectRule, ...]] = (broker_class_given, broker_config, delivery_valid, broker_fixed)
TRIGGER_RULES: Final[tuple[ObjectRule, ...]] = (
    trigger_broker,
    trigger_subscriber,
    trigger_attributes,
    trigger_filters,
    delivery_valid,
    trigger_fixed,
)
PING_SOURCE_RULES: Final[tuple[ObjectRule, ...]] = (
    source_sink,
    source_overrides,
    ping_schedule,
    ping_timezone,
    ping_data,
)
API_SERVER_SOURCE_RULES: Final[tuple[ObjectRule, ...]] = (
    source_sink,
    source_overrides,
    watched_mode,
    watched_resources,
    watched_selectors,
)
