"""Errors in the shape of OpenAI's API, for whatever answers below /m/<server>/v1: the engine's edge, and status before it. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

# Those that OpenAI's clients map to exceptions of their own.
_KINDS: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
}


def error(status: int, message: str, code: str, **members: Any) -> bytes:
    """The JSON document of an error. members: what else may help a program; clients leave unknown ones alone."""
    kind = _KINDS.get(status, "server_error")
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": code, **members}})
