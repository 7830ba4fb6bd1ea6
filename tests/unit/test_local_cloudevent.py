"""CloudEvents over HTTP, strictly."""

import pytest

from kn_model.local.eventing.cloudevent import CloudEvent, NotACloudEvent, parse

BINARY = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}
ATTRIBUTES = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}


def _structured(rest: str) -> bytes:
    return b'{"specversion":"1.0","id":"1","source":"/s","type":"t"' + rest.encode() + b"}"


@pytest.mark.parametrize(
    ("headers", "body", "attributes", "data"),
    [
        (BINARY, b"", ATTRIBUTES, None),
        (BINARY | {"content-type": "text/plain"}, b"x", ATTRIBUTES | {"datacontenttype": "text/plain"}, b"x"),
        (BINARY | {"CE-Actor": "%C3%A9 %20"}, b"", ATTRIBUTES | {"actor": "é  "}, None),
        (BINARY | {"ce-subject": '"a\\"b"'}, b"", ATTRIBUTES | {"subject": 'a"b'}, None),
        (STRUCTURED, _structured(""), ATTRIBUTES, None),
        (STRUCTURED, _structured(',"data":null,"subject":null'), ATTRIBUTES, None),
        (STRUCTURED, _structured(',"data":{"a":1}'), ATTRIBUTES | {"datacontenttype": "application/json"}, b'{"a":1}'),
        (STRUCTURED, _structured(',"data":"x"'), ATTRIBUTES | {"datacontenttype": "application/json"}, b'"x"'),
        (
            STRUCTURED,
            _structured(',"datacontenttype":"text/plain","data":"x"'),
            ATTRIBUTES | {"datacontenttype": "text/plain"},
            b"x",
        ),
        (STRUCTURED, _structured(',"data_base64":"AAE="'), ATTRIBUTES, b"\x00\x01"),
        (STRUCTURED, _structured(',"count":3,"flag":true'), ATTRIBUTES | {"count": "3", "flag": "true"}, None),
    ],
)
def test_both_modes_are_understood(
    headers: dict[str, str], body: bytes, attributes: dict[str, str], data: bytes | None
) -> None:
    """Attributes become strings, data becomes bytes."""
    assert parse(headers, body) == CloudEvent(attributes, data)


@pytest.mark.parametrize(
    ("headers", "body", "said"),
    [
        ({}, b"{}", "specversion is missing"),
        (BINARY | {"ce-id": ""}, b"", "id is missing"),
        (BINARY | {"ce-id": "%20"}, b"", "id is missing"),
        ({name: value for name, value in BINARY.items() if name != "ce-id"}, b"", "id is missing"),
        ({name: value for name, value in BINARY.items() if name != "ce-source"}, b"", "source is missing"),
        ({name: value for name, value in BINARY.items() if name != "ce-type"}, b"", "type is missing"),
        (BINARY | {"ce-type": ""}, b"", "type is missing"),
        (BINARY | {"ce-subject": ""}, b"", "subject is empty"),
        (BINARY | {"content-type": "; charset=utf-8"}, b"", "not a media type"),
        (BINARY | {"content-type": "text/"}, b"", "not a media type"),
        (BINARY | {"ce-specversion": "0.3"}, b"", "not 1.0"),
        (BINARY | {"ce-actor": "%C0%A0"}, b"", "not UTF-8"),
        (BINARY | {"ce-actor": "%zz"}, b"", "percent-encoding"),
        (BINARY | {"ce-actor": "a%00b"}, b"", "control character"),
        (BINARY | {"ce-model_id": "x"}, b"", "not an attribute name"),
        (BINARY | {"ce-time": "yesterday"}, b"", "RFC 3339"),
        ({"content-type": "application/cloudevents-batch+json"}, b"[]", "not supported"),
        ({"content-type": "application/cloudevents+avro"}, b"", "not supported"),
        ({"content-type": "application/json"}, b'{"id":"1"}', "specversion is missing"),
        (STRUCTURED, b'{"specversion":"1.0","id":"1","source":"/s"}', "type is missing"),
        (STRUCTURED, _structured(',"model_id":"x"'), "not an attribute name"),
        (STRUCTURED, _structured(',"Actor":"x"'), "not an attribute name"),
        (STRUCTURED, _structured(',"datacontenttype":"","data":1'), "not a media type"),
        (STRUCTURED, b"[]", "not a JSON object"),
        (STRUCTURED, b"{", "not a JSON object"),
        (STRUCTURED, b"\xff", "not a JSON object"),
        (STRUCTURED, _structured(',"data":' + "[" * 100_000), "not a JSON object"),
        (STRUCTURED, _structured(',"data":NaN'), "not a JSON object"),
        (STRUCTURED, _structured(',"data":1,"data_base64":"AA=="'), "either data or data_base64"),
        (STRUCTURED, _structured(',"data_base64":"?"'), "not base64"),
        (STRUCTURED, _structured(',"data_base64":7'), "not base64"),
        (STRUCTURED, _structured(',"count":1.5'), "count is not a string"),
        (STRUCTURED, _structured(',"list":[]'), "list is not a string"),
    ],
)
def test_what_is_no_event_is_named(headers: dict[str, str], body: bytes, said: str) -> None:
    """Anything malformed is refused with a reason, never an error of another kind.

    Source: `binding.ToEvent` and `Event.Validate` of the Go SDK that eventing 1.23 takes (`pkg/broker/ingress`). Stricter
    than it, as the specification asks: percent-encoded UTF-8, control characters, upper-case names in JSON.
    """
    with pytest.raises(NotACloudEvent, match=said):
        parse(headers, body)


def test_what_goes_out_comes_back() -> None:
    """Encoding and decoding of headers agree, whatever the characters."""
    event = CloudEvent(ATTRIBUTES | {"subject": 'ä "%" €', "datacontenttype": "text/plain"}, b"x")
    headers = event.headers()
    assert headers["ce-subject"].isascii()
    assert parse(headers, b"x") == event
