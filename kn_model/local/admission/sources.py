"""Rules for PingSources and ApiServerSources.

Tables `PING_SOURCE_RULES`, `API_SERVER_SOURCE_RULES`. Source: knative.dev/eventing `pkg/apis/sources/v1/*_validation.go`.
"""

import base64
import binascii
import json
import re
import zoneinfo
from typing import Final

from kn_model.local.admission.container import each
from kn_model.local.admission.eventing import Value, destination
from kn_model.local.admission.finding import (
    Finding,
    Findings,
    disallowed,
    invalid,
    missing,
    multiple_one_of,
    under,
)
from kn_model.local.admission.serving import ObjectRule, Review

# The five fields of cron, an optional one for seconds before them, or a named schedule.
_CRON_FIELDS: Final = (5, 6)
_CRON_FIELD: Final = re.compile(r"[0-9A-Za-z*/,?-]+")
_CRON_NAMED: Final = re.compile(r"@(yearly|annually|monthly|weekly|daily|midnight|hourly)")


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


_COMPARING: Final = ("In", "NotIn")  # codespell:ignore notin
_PRESENCE: Final = ("Exists", "DoesNotExist")


def _expression(expression: Value) -> Findings:
    operator, values = expression.get("operator"), expression.get("values")
    if operator not in (*_COMPARING, *_PRESENCE):
        yield invalid(operator, "operator")
    elif operator in _COMPARING and not values:
        yield missing("values")
    elif operator in _PRESENCE and values:
        yield disallowed("values")


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
