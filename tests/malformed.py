"""Deliveries that are no events, as (what, headers, body, the status they are answered with); each without a namespace.

One table, posted to an app over ASGI and to a function's real process. Everything is 400 or 413: a broker must not
deliver it again, and no traceback must end in a log.
"""

import base64
from typing import Final

GOOD: Final = {
    "ce-id": "1",
    "ce-source": "/s",
    "ce-type": "dev.knative.sources.ping",
    "ce-specversion": "1.0",
    "content-type": "application/json",
}
_STRUCTURED: Final = {"content-type": "application/cloudevents+json"}
_START: Final = b'{"specversion":"1.0","id":"1","source":"/s","type":"dev.knative.sources.ping"'
_DEEP: Final = 100_000


def _without(name: str) -> dict[str, str]:
    return {key: value for key, value in GOOD.items() if key != name}


MALFORMED: Final[list[tuple[str, dict[str, str], bytes, int]]] = [
    ("nothing at all", {}, b"", 400),
    ("no id", _without("ce-id"), b"{}", 400),
    ("no source", _without("ce-source"), b"{}", 400),
    ("no type", _without("ce-type"), b"{}", 400),
    ("no specversion", _without("ce-specversion"), b"{}", 400),
    ("an empty id", {**GOOD, "ce-id": ""}, b"{}", 400),
    ("an older specification", {**GOOD, "ce-specversion": "0.3"}, b"{}", 400),
    ("an overlong encoding", {**GOOD, "ce-subject": "%C0%A0"}, b"{}", 400),
    ("half a surrogate pair", {**GOOD, "ce-subject": "%ED%A0%80"}, b"{}", 400),
    ("a continuation byte alone", {**GOOD, "ce-id": "%80"}, b"{}", 400),
    ("NUL in the id", {**GOOD, "ce-id": "a%00b"}, b"{}", 400),
    ("NUL in an extension", {**GOOD, "ce-actor": "%00"}, b"{}", 400),
    ("a line break in the subject", {**GOOD, "ce-subject": "a%0D%0Ab: c"}, b"{}", 400),
    ("no character", {**GOOD, "ce-subject": "%EF%BF%BF"}, b"{}", 400),
    ("a very long id", {**GOOD, "ce-id": "x" * 10_000}, b"{}", 400),
    ("a very long source", {**GOOD, "ce-source": "/" + "%C3%A9" * 300}, b"{}", 400),
    ("a very long extension", {**GOOD, "ce-actor": "x" * 10_000}, b"{}", 400),
    ("a name with an underscore", {**GOOD, "ce-model_id": "x"}, b"{}", 400),
    ("a very long name", {**GOOD, "ce-" + "x" * 1000: "x"}, b"{}", 400),
    ("a batch", {"content-type": "application/cloudevents-batch+json"}, b"[]", 400),
    ("another format", {"content-type": "application/cloudevents+avro"}, b"x", 400),
    ("an array", _STRUCTURED, b"[]", 400),
    ("a string", _STRUCTURED, b'"event"', 400),
    ("null", _STRUCTURED, b"null", 400),
    ("half a document", _STRUCTURED, b"{", 400),
    ("no UTF-8", _STRUCTURED, b'{"id":"\xc0\xa0"}', 400),
    ("UTF-16", _STRUCTURED, '{"id":"1"}'.encode("utf-16"), 400),
    ("not a number", _STRUCTURED, _START + b',"data":NaN}', 400),
    ("a deep array", _STRUCTURED, _START + b',"data":' + b"[" * _DEEP + b"]" * _DEEP + b"}", 400),
    ("a deep object", _STRUCTURED, b'{"a":' * _DEEP + b"1" + b"}" * _DEEP, 400),
    ("a member twice", _STRUCTURED, _START + b',"id":"2"}', 400),
    ("a member of the data twice", _STRUCTURED, _START + b',"data":{"a":1,"a":2}}', 400),
    ("an attribute that is an object", _STRUCTURED, _START + b',"actor":{}}', 400),
    ("an attribute that is an array", _STRUCTURED, _START + b',"actor":[1]}', 400),
    ("an attribute that is a fraction", _STRUCTURED, _START + b',"actor":1.5}', 400),
    ("an attribute of 5,000 digits", _STRUCTURED, _START + b',"actor":' + b"9" * 5000 + b"}", 400),
    ("an id that is null", _STRUCTURED, b'{"specversion":"1.0","id":null,"source":"/s","type":"t"}', 400),
    ("NUL in a structured id", _STRUCTURED, b'{"specversion":"1.0","id":"\\u0000","source":"/s","type":"t"}', 400),
    (
        "half a pair in a structured id",
        _STRUCTURED,
        b'{"specversion":"1.0","id":"\\ud800","source":"/s","type":"t"}',
        400,
    ),
    ("bad base64", _STRUCTURED, _START + b',"data_base64":"!"}', 400),
    ("base64 that is a number", _STRUCTURED, _START + b',"data_base64":1}', 400),
    ("base64 that is an array", _STRUCTURED, _START + b',"data_base64":["AA=="]}', 400),
    ("base64 that is not ASCII", _STRUCTURED, _START + ',"data_base64":"é"}'.encode(), 400),
    ("data in both forms", _STRUCTURED, _START + b',"data":1,"data_base64":"AA=="}', 400),
    ("10 MB", GOOD, b"x" * 10_000_000, 413),
    ("10 MB, structured", _STRUCTURED, _START + b',"data_base64":"' + base64.b64encode(bytes(7_500_000)) + b'"}', 413),
]
