"""The OAuth2 form as values: which grant a body asks for, and RFC 6749's code for each mistake."""

import base64

import pytest

from functions.auth.forms import ClientCredentials, OAuth2Error, PasswordGrant, parse


def basic(text: str) -> str:
    """An Authorization header."""
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def test_password_grant() -> None:
    """Percent encoding and plus signs are what a browser or curl --data-urlencode sends."""
    grant = parse(b"grant_type=password&username=ada&password=a+b%26%C3%A9&scope=x", None)

    assert grant == PasswordGrant("ada", "a b&é")


@pytest.mark.parametrize(
    ("body", "authorization"),
    [
        (b"grant_type=client_credentials&client_id=id&client_secret=a%2Bb", None),
        (b"grant_type=client_credentials", basic("id:a%2Bb")),
        (b"grant_type=client_credentials", "bAsIc " + basic("id:a%2Bb")[6:]),
    ],
    ids=["form", "basic", "scheme in another case"],
)
def test_client_credentials(body: bytes, authorization: str | None) -> None:
    """Section 2.3.1: the client's id and secret, in the form or form-encoded within HTTP Basic."""
    assert parse(body, authorization) == ClientCredentials("id", "a+b")


@pytest.mark.parametrize(
    ("body", "authorization", "error"),
    [
        (b"", None, "invalid_request"),
        (b"username=ada&password=x", None, "invalid_request"),
        (b"grant_type=password&username=ada", None, "invalid_request"),
        (b"grant_type=password&username=&password=x", None, "invalid_request"),
        (b"grant_type=password&username=ada&username=root&password=x", None, "invalid_request"),
        (b"grant_type=password&username=ada&password=%ff", None, "invalid_request"),
        ("grant_type=password&username=ada&password=é".encode(), None, "invalid_request"),
        (b"&".join(b"f%d=1" % n for n in range(21)), None, "invalid_request"),
        (b"grant_type=client_credentials", None, "invalid_request"),
        (b"grant_type=client_credentials", "Basic !", "invalid_request"),
        (b"grant_type=client_credentials", "Basic \xe9", "invalid_request"),
        (b"grant_type=client_credentials", basic("no colon"), "invalid_request"),
        (b"grant_type=authorization_code", None, "unsupported_grant_type"),
        (b"grant_type=refresh_token", None, "unsupported_grant_type"),
    ],
)
def test_bad_form_has_its_code(body: bytes, authorization: str | None, error: str) -> None:
    """Section 5.2: 400 with a code; nothing else is raised."""
    with pytest.raises(OAuth2Error) as refused:
        parse(body, authorization)

    assert (refused.value.error, refused.value.status) == (error, 400)
