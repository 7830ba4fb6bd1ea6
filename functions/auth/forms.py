"""The OAuth2 form of `POST /auth/token`: RFC 6749 sections 2.3.1, 4.3 and 4.4, as values in and values out.

Errors of this form leave in OAuth2's own shape (section 5.2), because OAuth2 clients read nothing else.
"""

import base64
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

CONTENT_TYPE: Final = "application/x-www-form-urlencoded"
# More than any token request has; the parser refuses the rest.
MAX_FIELDS: Final = 20


class OAuth2Error(Exception):
    """A refused form: `error` is a code of RFC 6749 section 5.2, the text a sentence for a person."""

    def __init__(
        self, error: str, description: str, *, status: int = 400, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class PasswordGrant:
    """`grant_type=password`: a person's name and password."""

    username: str
    password: str


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """`grant_type=client_credentials`: the id of an API key and the key itself."""

    client_id: str
    client_secret: str


def parse(raw: bytes, authorization: str | None) -> PasswordGrant | ClientCredentials:
    """The grant that a form asks for. Client credentials come in the form or as HTTP Basic. Raises OAuth2Error."""
    fields = _fields(raw)
    grant = _required(fields, "grant_type")
    if grant == "password":
        return PasswordGrant(_required(fields, "username"), _required(fields, "password"))
    if grant == "client_credentials":
        return _basic(authorization) or ClientCredentials(
            _required(fields, "client_id"), _required(fields, "client_secret")
        )
    raise OAuth2Error("unsupported_grant_type", "grant_type is password or client_credentials")


def _fields(raw: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError as error:
        raise OAuth2Error("invalid_request", "the body is not a form of ASCII text in percent encoding") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):  # section 3.2: parameters MUST NOT be included more than once
        raise OAuth2Error("invalid_request", "a parameter is there twice")
    return fields


def _required(fields: dict[str, str], name: str) -> str:
    if not fields.get(name):  # section 3.2: a parameter without a value is treated as if it were omitted
        raise OAuth2Error("invalid_request", f"{name} is missing")
    return fields[name]


def _basic(authorization: str | None) -> ClientCredentials | None:
    """Client id and secret from HTTP Basic, each form-encoded inside (section 2.3.1); None without that scheme."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:  # not base64, or not UTF-8 inside
        colon = ""
    if not colon:
        raise OAuth2Error("invalid_request", "the Authorization header is not HTTP Basic")
    return ClientCredentials(unquote_plus(client_id), unquote_plus(secret))


def invalid_client() -> OAuth2Error:
    """Unknown, revoked or expired API key, or one that is not `client_id`'s (section 5.2: 401 with a challenge)."""
    challenge = {"WWW-Authenticate": 'Basic realm="torpor"'}
    return OAuth2Error("invalid_client", "the API key is unknown, revoked or expired", status=401, headers=challenge)
