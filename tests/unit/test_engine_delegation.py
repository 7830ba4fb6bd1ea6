"""In whose name a call is: only who may delegate can name somebody else."""

import pytest

from functions.kit.identity import ACTIONS_OF_ROLE, SERVICE, Identity
from functions.serve.engine.delegation import on_behalf
from functions.serve.engine.routes import Refusal, passed

SERVE = Identity("torpor-serve", SERVICE, ("*",), ACTIONS_OF_ROLE[SERVICE], 0.0, "servekey")
NAMED = [(b"Torpor-Subject", b"ada@example.com"), (b"torpor-key-id", b"adaskey1")]


def test_a_service_asks_for_somebody() -> None:
    """Subject and key of the person take the place of the service's own."""
    who = on_behalf(SERVE, NAMED)
    assert (who.subject, who.key_id) == ("ada@example.com", "adaskey1")


def test_a_person_without_a_key_is_booked_without_one() -> None:
    """The service's own key is not mixed with somebody else's name."""
    assert on_behalf(SERVE, NAMED[:1]).key_id is None


def test_a_service_asks_for_itself() -> None:
    """Without a name it is its own usage."""
    assert on_behalf(SERVE, []) == SERVE


@pytest.mark.parametrize("role", sorted(ACTIONS_OF_ROLE.keys() - {SERVICE}))
def test_nobody_else_names_another(role: str) -> None:
    """Whatever role people have: the headers mean nothing from them."""
    mallory = Identity("mallory", role, ("*",), ACTIONS_OF_ROLE[role], 0.0)
    assert on_behalf(mallory, NAMED) == mallory


def test_a_name_that_no_header_carries_is_escaped() -> None:
    """Names of foreign issuers travel in percent encoding."""
    assert on_behalf(SERVE, [(b"torpor-subject", b"J%C3%BCrgen")]).subject == "Jürgen"


def test_two_names_are_refused() -> None:
    """Which one would be meant?"""
    with pytest.raises(Refusal, match="send one torpor-subject header"):
        on_behalf(SERVE, [*NAMED, *NAMED])


def test_no_name_reaches_the_engine() -> None:
    """The engine behind the edge never sees who asks."""
    assert passed(NAMED, "id") == [(b"x-request-id", b"id")]
