"""Names of users and models: only what is safe in a header, a log line and a query gets in."""

import pytest

from functions.auth import names
from functions.auth.verify import identity_headers
from functions.kit.identity import Identity


@pytest.mark.parametrize("name", ["a", "ada", "ada.lovelace+ml@example.org", "x" * 64, "7"])
def test_usable_user_name(name: str) -> None:
    """E-mail addresses and plain names, up to 64 characters."""
    assert names.username(name) == name


def test_case_is_folded() -> None:
    """Ada and ada are one user."""
    assert names.username("Ada") == "ada"


@pytest.mark.parametrize("name", ["", ".a", "a.", "a b", "a,b", "a\0", "a\n", "ä", "x" * 65, "a:b", "../a", "İ"])
def test_unusable_user_name(name: str) -> None:
    """Anything that a header, HTTP Basic or a path would read otherwise."""
    with pytest.raises(names.UnusableName):
        names.username(name)


@pytest.mark.parametrize("name", ["*", "smol", "HuggingFaceTB/SmolLM2-135M-Instruct", "m:v1", "owner/name@abc"])
def test_usable_model(name: str) -> None:
    """All models, a server's name, a hub's name."""
    assert names.models([name]) == [name]


@pytest.mark.parametrize("name", ["", "a*", "a,b", "a b", "a\r\nb", "/a", "x" * 256, "é"])
def test_unusable_model(name: str) -> None:
    """No pattern, no comma, no line break."""
    with pytest.raises(names.UnusableName):
        names.models([name])


def test_foreign_identity_cannot_break_a_header() -> None:
    """A14: whatever a configured foreign issuer says arrives escaped, on one line, in Latin-1."""
    who = Identity("é\r\nX-Torpor-Role: admin", "user", ("a,b", "ok/x"), ("infer",), 0.0, "k\n")

    headers = identity_headers(who)

    assert headers["X-Torpor-Subject"] == "%C3%A9%0D%0AX-Torpor-Role%3A%20admin"
    assert headers["X-Torpor-Models"] == "a%2Cb,ok/x"
    assert headers["X-Torpor-Key-Id"] == "k%0A"
