"""CloudEvents 1.0 over HTTP, strictly: binary and structured mode in, binary mode out. Pure.

Called by the broker (ingress, replies, deliveries) and by the sources. The public SDK makes up a missing id, which
defeats de-duplication, so it is not used. Source: the CloudEvents specification 1.0.2 and its HTTP protocol binding.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec

STRUCTURED: Final = "application/cloudevents+json"
REQUIRED: Final = ("specversion", "id", "source", "type")
# Knative's broker takes any length; longer names than the 20 the specification recommends are common.
_NAME = re.compile(r"[a-z0-9]{1,64}")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Encoded in a header: whatever is not printable ASCII, and space, quote and percent (HTTP binding, section 3.1.3.2).
_TO_ENCODE = re.compile(r"[^\x21\x23\x24\x26-\x7e]")
# RFC 2046: a type, and parameters whose form nobody here depends on.
_MEDIA_TYPE = re.compile(r"\s*[^\s/;,]+(/[^\s/;,]+)?\s*(;|$)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class NotACloudEvent(ValueError):
    """The message is not a CloudEvent 1.0; the text says why."""


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """Context attributes, all as their string form, and the data; None is no data at all."""

    attributes: Mapping[str, str]
    data: bytes | None

    def having(self, **attributes: str) -> "CloudEvent":
        """The same event with more attributes."""
        return CloudEvent({**self.attributes, **attributes}, self.data)

    def without(self, *names: str) -> "CloudEvent":
        """The same event without some attributes."""
        return CloudEvent({name: value for name, value in self.attributes.items() if name not in names}, self.data)

    def headers(self) -> dict[str, str]:
        """The headers of binary mode; the data is the body."""
        encoded = {f"ce-{name}": _encode(value) for name, value in self.attributes.items() if name != "datacontenttype"}
        content_type = self.attributes.get("datacontenttype")
        return encoded | ({"content-type": content_type} if content_type else {})


def parse(headers: Mapping[str, str], body: bytes) -> CloudEvent:
    """The event in an HTTP message. `headers` finds lower-case names. NotACloudEvent says what is wrong."""
    content_type = headers.get("content-type", "")
    if content_type.split(";")[0].strip().lower() == STRUCTURED:
        return _checked(_structured(body))
    if content_type.lower().startswith("application/cloudevents"):
        raise NotACloudEvent(f"{content_type} is not supported; send one event as {STRUCTURED} or in binary mode")
    attributes = {name.lower()[3:]: _decode(value) for name, value in headers.items() if name.lower().startswith("ce-")}
    if content_type:
        attributes["datacontenttype"] = content_type
    return _checked(CloudEvent(attributes, body or None))


def _structured(body: bytes) -> CloudEvent:
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise NotACloudEvent(f"the body is not a JSON object: {error}") from error
    data, encoded = fields.pop("data", None), fields.pop("data_base64", None)
    if data is not None and encoded is not None:
        raise NotACloudEvent("an event has either data or data_base64")
    attributes = {name: _as_string(name, value) for name, value in fields.items() if value is not None}
    if encoded is not None:
        return CloudEvent(attributes, _from_base64(encoded))
    if data is None:
        return CloudEvent(attributes, None)
    is_json = "json" in attributes.setdefault("datacontenttype", "application/json").lower()
    return CloudEvent(attributes, msgspec.json.encode(data) if is_json or not isinstance(data, str) else data.encode())


def _checked(event: CloudEvent) -> CloudEvent:
    attributes = event.attributes
    for name in REQUIRED:
        if not attributes.get(name, "").strip():
            raise NotACloudEvent(f"the attribute {name} is missing")
    if not attributes.get("subject", "one").strip():
        raise NotACloudEvent("the attribute subject is empty")
    if not _MEDIA_TYPE.match(attributes.get("datacontenttype", "one/none")):
        raise NotACloudEvent("the attribute datacontenttype is not a media type")
    if attributes["specversion"] != "1.0":
        raise NotACloudEvent("the attribute specversion is not 1.0")
    for name, value in attributes.items():
        if not _NAME.fullmatch(name):
            raise NotACloudEvent(f"{name!r} is not an attribute name: lower-case letters and digits only")
        if _CONTROL.search(value):
            raise NotACloudEvent(f"the attribute {name} has a control character")
    _check_time(attributes.get("time"))
    return event


def _check_time(text: str | None) -> None:
    try:
        if text is not None:
            datetime.fromisoformat(text)
    except ValueError as error:
        raise NotACloudEvent("the attribute time is not an RFC 3339 timestamp") from error


def _as_string(name: str, value: Any) -> str:
    """The canonical string of a JSON attribute (CloudEvents type system)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    raise NotACloudEvent(f"the attribute {name} is not a string, integer or boolean")


def _from_base64(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise NotACloudEvent("data_base64 is not base64") from error


def _decode(value: str) -> str:
    """A header's value: quotes taken off, percent-encoded UTF-8 decoded."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    if value.isascii() and "%" not in value:
        return value
    if _BAD_PERCENT.search(value):
        raise NotACloudEvent("a header has a broken percent-encoding")
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeError as error:
        raise NotACloudEvent("a header is not UTF-8") from error


def _encode(value: str) -> str:
    return _TO_ENCODE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), value)
