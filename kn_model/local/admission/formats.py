"""Formats that the webhooks insist on: DNS labels, images, Go durations, ISO 8601 periods. Pure; used by the rules."""

import re
from typing import Final

_DNS_1035: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_DNS_1123: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_GO_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_GO_UNIT_S: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PERIOD: Final = re.compile(
    r"P(?:(?P<d>\d+(?:[.,]\d+)?)D)?(?:T(?=\d)(?:(?P<h>\d+(?:[.,]\d+)?)H)?(?:(?P<m>\d+(?:[.,]\d+)?)M)?"
    r"(?:(?P<s>\d+(?:[.,]\d+)?)S)?)?"
)
# go-containerregistry `pkg/name`, ParseReference: registry/repository, then a tag or a digest. It wants two letters of a
# repository; one is let through here.
_REPOSITORY: Final = r"(?:[A-Za-z0-9.-]+(?::\d+)?/)?[a-z0-9_./-]{1,255}"
_IMAGE: Final = re.compile(rf"{_REPOSITORY}(?::[A-Za-z0-9_.-]{{1,128}})?(?:@sha256:[0-9a-f]{{64}})?")
_PERIOD_UNIT_S: Final = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
# RFC 1035 and RFC 1123: a label is one octet of length and at most 63 of text.
LABEL_LENGTH: Final = 63
# RFC 1123 as Kubernetes applies it to names with dots.
SUBDOMAIN_LENGTH: Final = 253


def is_dns_1035_label(text: str) -> bool:
    """Lower-case letters, digits and dashes, starting with a letter: what Knative asks of services and tags."""
    return len(text) <= LABEL_LENGTH and _DNS_1035.fullmatch(text) is not None


def is_dns_1123_label(text: str) -> bool:
    """The same, and it may start with a digit: volumes."""
    return len(text) <= LABEL_LENGTH and _DNS_1123.fullmatch(text) is not None


def is_dns_1123_subdomain(text: str) -> bool:
    """Labels joined by dots: most names in Kubernetes."""
    return len(text) <= SUBDOMAIN_LENGTH and all(_DNS_1123.fullmatch(part) for part in text.split("."))


def is_image_reference(text: str) -> bool:
    """A name that a container runtime could pull: `registry/repository[:tag][@digest]`."""
    return _IMAGE.fullmatch(text) is not None


def go_duration(text: str) -> float | None:
    """Seconds of a Go duration such as `1m30s` or `-2s`; None when Go's time.ParseDuration would fail."""
    sign, digits = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    if digits == "0":
        return 0.0
    parts = _GO_PART.findall(digits)
    if not parts or "".join(number + unit for number, unit in parts) != digits:
        return None
    return sign * sum(float(number) * _GO_UNIT_S[unit] for number, unit in parts)


def iso_period(text: str) -> float | None:
    """Seconds of an ISO 8601 period of days and smaller, such as `PT0.2S`; None when it is none."""
    found = _PERIOD.fullmatch(text)
    if found is None or not any(found.groups()):
        return None
    return sum(float(value.replace(",", ".")) * _PERIOD_UNIT_S[unit] for unit, value in found.groupdict("0").items())
