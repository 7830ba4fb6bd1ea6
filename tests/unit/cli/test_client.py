"""The client's manners: tokens renewed once, patience with a restart, redirects and proxies left alone."""

import time
from collections.abc import Callable

import httpx
import pytest

from kn_model.client import Client
from kn_model.failure import Exit, Failure


def client(
    answer: Callable[[httpx.Request], httpx.Response],
    renew: Callable[[], str | None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Client:
    """A client whose calls are answered by a function."""
    return Client("http://torpor.test", "old", renew=renew, transport=httpx.MockTransport(answer), sleep=sleep)


def only_new(request: httpx.Request) -> httpx.Response:
    """A server that takes the token `new` alone."""
    good = request.headers["authorization"] == "Bearer new"
    return httpx.Response(200 if good else 401, json={})


def test_an_expired_token_is_renewed_without_a_word() -> None:
    """The laptop's token lasts an hour; nobody notices its end."""
    renewals: list[str] = []

    def renew() -> str:
        renewals.append("new")
        return "new"

    found = client(only_new, renew)
    assert (found.get("/models"), found.post("/models", {}), renewals) == ({}, {}, ["new"])


def test_a_token_that_cannot_be_renewed_is_an_end() -> None:
    """Exit code 3, after one try."""
    with pytest.raises(Failure) as caught:
        client(only_new).get("/models")
    assert caught.value.code == Exit.NOT_LOGGED_IN


def test_a_renewed_token_that_is_refused_is_an_end_too() -> None:
    """No loop."""
    calls: list[int] = []

    def refuse(_: httpx.Request) -> httpx.Response:
        calls.append(1)
        return httpx.Response(401, json={})

    with pytest.raises(Failure):
        client(refuse, lambda: "new").get("/models")
    assert len(calls) == 2


def test_a_call_waits_for_a_start_or_a_restart() -> None:
    """503 with Retry-After means that nothing was done yet: the call is made again, after a pause."""
    pauses: list[float] = []
    later = httpx.Response(503, headers={"retry-after": "1"}, json={"title": "t"})
    answers = [later, httpx.Response(200, json={"models": []})]
    assert client(lambda _: answers.pop(0), sleep=pauses.append).get("/models", patience_s=5) == {"models": []}
    answers = [later, httpx.Response(202, json={"uuid": "1"})]
    assert client(lambda _: answers.pop(0), sleep=pauses.append).post("/models", {}) == {"uuid": "1"}
    assert [0.5, 0.5] == pauses


def test_a_write_that_may_have_happened_is_not_repeated() -> None:
    """A 503 that does not ask for another try may come from a gateway that lost the answer."""
    answers = [httpx.Response(503, text="gateway"), httpx.Response(202, json={})]
    with pytest.raises(Failure):
        client(lambda _: answers.pop(0)).post("/models", {})
    assert len(answers) == 1


def test_a_redirect_is_not_followed() -> None:
    """A token goes to the place that was logged in to and nowhere else."""
    seen: list[str] = []

    def redirect(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.host)
        return httpx.Response(302, headers={"location": "http://elsewhere.test/"})

    with pytest.raises(Failure):
        client(redirect).get("/models")
    assert seen == ["torpor.test"]


def test_what_is_no_problem_document_is_shown_as_it_is() -> None:
    """A gateway's own page still reaches the person, shortened."""
    with pytest.raises(Failure) as caught:
        client(lambda _: httpx.Response(502, text="upstream is gone")).get("/models")
    assert (caught.value.message, caught.value.why) == ("GET /models was answered 502", "upstream is gone")
