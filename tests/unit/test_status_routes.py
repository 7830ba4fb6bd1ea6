"""The routes of `status`: who may call what, and how the Broker's deliveries are answered. The database is a recorder."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from functions.kit import app
from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.identity import ACTIONS_OF_ROLE, Identity
from functions.kit.problem import Retry, Unauthorized
from functions.kit.settings import Secret
from functions.status.app import routes
from functions.status.deps import Deps
from tests.deliveries import KEYRING, TRUST, delivered, signed
from tests.nowhere import NO_OBJECTS

READS = [
    "/models",
    "/models/available",
    "/models/x",
    "/status",
    "/status/x",
    "/usage",
    "/deadletters",
    "/deadletters/1",
]
REDRIVES = ["/deadletters/1/redrive", "/deadletters/redrive"]
EVENT = delivered({"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/test", "content-type": "application/json"})


class Recorder:
    """A database that holds nothing and remembers what it was asked; `down` makes it unreachable."""

    def __init__(self, *, down: bool = False) -> None:
        self.calls: list[tuple[object, ...]] = []
        self._down = down

    def _record(self, args: tuple[object, ...]) -> None:
        if self._down:
            raise Retry(2, "PostgreSQL does not answer (test); try again")
        self.calls.append(args)

    async def fetch(self, _: str, *args: object) -> list[Any]:
        """No rows."""
        self._record(args)
        return []

    async def fetchrow(self, _: str, *args: object) -> Any:
        """No row."""
        self._record(args)

    async def execute(self, _: str, *args: object) -> str:
        """Nothing happens."""
        self._record(args)
        return ""


class Roles:
    """A verifier for which the credential is the role's name."""

    async def identify(self, authorization: str | None) -> Identity:
        """The identity of a role, as `Bearer <role>`."""
        role = (authorization or "").removeprefix("Bearer ")
        if role not in ACTIONS_OF_ROLE:
            raise Unauthorized("no token")
        return Identity("somebody", role, ("*",), ACTIONS_OF_ROLE[role], 0.0)


async def unpublished(headers: Mapping[str, str], data: bytes) -> None:
    """A Broker that takes everything."""


def client(db: Recorder, role: str = "") -> httpx.AsyncClient:
    """A caller of the routing table with a role."""
    bus = Bus(Database(Secret("unused")), "/torpor/status", unpublished, KEYRING)
    handle = app.build(routes(Deps(db, bus, Roles(), TRUST, NO_OBJECTS)), ready={})
    headers = {"authorization": f"Bearer {role}"} if role else {}
    return httpx.AsyncClient(transport=httpx.ASGITransport(handle), base_url="http://status", headers=headers)


@pytest.mark.parametrize("path", READS)
async def test_no_read_without_a_token(path: str) -> None:
    """Every GET verifies the caller by itself."""
    async with client(Recorder()) as http:
        assert (await http.get(path)).status_code == 401


async def test_dead_letters_are_for_operators() -> None:
    """An event's data may name other people's requests."""
    async with client(Recorder(), "user") as user, client(Recorder(), "operator") as operator:
        assert [(await http.get("/deadletters")).status_code for http in (user, operator)] == [403, 200]
        assert [(await http.get("/deadletters/1")).status_code for http in (user, operator)] == [403, 404]


@pytest.mark.parametrize("path", REDRIVES)
@pytest.mark.parametrize(("role", "status"), [("", 401), ("user", 403)])
async def test_who_may_not_redrive_changes_nothing(path: str, role: str, status: int) -> None:
    """Sending an event again makes things happen: for operators alone."""
    db = Recorder()
    async with client(db, role) as http:
        assert ((await http.post(path, json={})).status_code, db.calls) == (status, [])


@pytest.mark.parametrize("number", ["1", "9223372036854775808", "0", "99999999999999999999999"])
async def test_a_letter_that_is_not_there_is_named(number: str) -> None:
    """404, also for a number that no column could hold."""
    async with client(Recorder(), "operator") as http:
        answers = [await http.get(f"/deadletters/{number}"), await http.post(f"/deadletters/{number}/redrive")]
    assert [(each.status_code, each.json()["title"]) for each in answers] == [(404, "Dead letter not found")] * 2


@pytest.mark.parametrize(
    "query",
    [{"code": "none"}, {"code": "99"}, {"since": "yesterday"}, {"until": "2026-01-31T00:00:00"}, {"redriven": "maybe"}],
)
async def test_a_filter_that_does_not_fit_is_a_bad_request(query: dict[str, str]) -> None:
    """400 that names it, in the query and in the body alike; a body is not guessed at."""
    db = Recorder()
    async with client(db, "operator") as http:
        answers = [await http.get("/deadletters", params=query), await http.post("/deadletters/redrive", json=query)]
    assert [(each.status_code, next(iter(query)) in each.json()["detail"]) for each in answers] == [(400, True)] * 2
    assert db.calls == []


@pytest.mark.parametrize("body", [{"typ": "t"}, {"ids": [0]}, {"ids": [2**63]}, {"ids": list(range(1, 1002))}, []])
async def test_a_redrive_of_something_else_is_refused(body: object) -> None:
    """A misspelt filter must not mean everything."""
    async with client(Recorder(), "operator") as http:
        assert (await http.post("/deadletters/redrive", json=body)).status_code == 400


async def test_a_user_sees_only_their_own_usage() -> None:
    """Whatever subject a user asks for, the query is about themselves."""
    db = Recorder()
    async with client(db, "user") as http:
        await http.get("/usage", params={"subject": "somebody-else"})
    assert db.calls[0][0] == "somebody"


async def test_an_operator_sees_the_usage_of_all_or_of_one() -> None:
    """Without a subject the query is about everybody."""
    db = Recorder()
    async with client(db, "operator") as http:
        await http.get("/usage")
        await http.get("/usage", params={"subject": "one"})
    assert [call[0] for call in db.calls] == [None, "one"]


@pytest.mark.parametrize("path", ["/models", "/status", "/usage", "/deadletters"])
async def test_a_garbage_cursor_is_a_bad_request(path: str) -> None:
    """400 as problem+json on every list."""
    async with client(Recorder(), "admin") as http:
        response = await http.get(path, params={"cursor": "garbage"})
    assert (response.status_code, response.headers["content-type"]) == (400, "application/problem+json")


@pytest.mark.parametrize("when", ["yesterday", "2026-01-31T00:00:00", "2026-13-01T00:00:00Z"])
async def test_a_time_that_is_none_is_a_bad_request(when: str) -> None:
    """A time without an offset would depend on the server's clock."""
    async with client(Recorder(), "admin") as http:
        assert (await http.get("/usage", params={"from": when})).status_code == 400


async def test_what_is_not_there_is_named() -> None:
    """404 says which name was not found and where to look."""
    async with client(Recorder(), "user") as http:
        responses = [(await http.get(path)).json() for path in ("/models/gone", "/status/gone")]
    assert [(body["title"], "'gone'" in body["detail"]) for body in responses] == [
        ("Model not found", True),
        ("Server not found", True),
    ]


@pytest.mark.parametrize("path", READS)
async def test_a_database_that_is_down_is_said_to_be_down(path: str) -> None:
    """503 with Retry-After and the cause, not an empty list."""
    async with client(Recorder(down=True), "admin") as http:
        response = await http.get(path)
    assert (response.status_code, response.headers["retry-after"], "PostgreSQL" in response.json()["detail"]) == (
        503,
        "2",
        True,
    )


async def test_a_dead_letter_is_kept_with_its_reason() -> None:
    """The Broker's extensions become columns; the answer is 204 with an empty body."""
    db = Recorder()
    reason = {
        "ce-knativeerrordest": "http://download/events",
        "ce-knativeerrorcode": "500",
        "ce-knativeerrordata": "Ym9vbQ==",
    }
    async with client(db) as http:
        headers = {**EVENT, **reason, "ce-type": "t", "ce-subject": "s", "ce-actor": "a"}
        response = await http.post("/deadletters", headers=headers, content=b"{}")
    assert (response.status_code, response.content) == (204, b"")
    assert db.calls == [
        ("/test", "1", "t", "s", {"actor": "a"}, "application/json", b"{}", "http://download/events", 500, "boom")
    ]


async def test_a_dead_letter_without_reasons_is_kept_too() -> None:
    """Some brokers name neither code nor data; nonsense in their place is no reason to lose the event."""
    db = Recorder()
    headers = {**EVENT, "ce-type": "t", "ce-knativeerrorcode": "none", "ce-knativeerrordata": "%not-base64"}
    async with client(db) as http:
        await http.post("/deadletters", headers=headers, content=b"")
    assert db.calls[0][-3:] == ("", None, "%not-base64")


async def test_what_is_no_event_is_not_kept() -> None:
    """A POST that is no CloudEvent can never be delivered again: 400."""
    db = Recorder()
    async with client(db) as http:
        assert ((await http.post("/deadletters", headers=delivered({}), content=b"{}")).status_code, db.calls) == (
            400,
            [],
        )


async def test_a_dead_letter_of_another_namespace_is_refused() -> None:
    """Nobody else's Broker fills the list that operators read."""
    db = Recorder()
    async with client(db) as http:
        headers = {**EVENT, "ce-type": "t", "Kn-Namespace": "other"}
        assert ((await http.post("/deadletters", headers=headers, content=b"{}")).status_code, db.calls) == (403, [])


async def test_an_unknown_event_type_is_rejected() -> None:
    """A Trigger that sends it is wrong; retrying would not mend that."""
    async with client(Recorder()) as http:
        headers = signed({**EVENT, "ce-type": "dev.torpor.other.v1"}, b"{}")
        response = await http.post("/events", headers=headers, content=b"{}")
    assert response.status_code == 400


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
async def test_models_are_only_read_here(method: str) -> None:
    """Other methods on the same paths belong to `download`."""
    async with client(Recorder(), "admin") as http:
        assert (await http.request(method, "/models")).status_code == 405
