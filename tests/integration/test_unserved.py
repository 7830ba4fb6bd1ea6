"""A server that Postgres knows never answers 404: until its own route leads to it, status says what it is at."""

from collections.abc import AsyncIterator

import httpx
import pytest

from functions.kit import app
from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.identity import ACTIONS_OF_ROLE, Identity
from functions.kit.problem import Unauthorized
from functions.status.app import routes
from functions.status.deps import Deps
from tests.deliveries import KEYRING, TRUST
from tests.integration.test_status import add_server, database, unpublished  # noqa: F401  # database: a fixture
from tests.nowhere import NO_OBJECTS

CHAT = "/m/tiny/v1/chat/completions"


class Scoped:
    """A verifier for which the credential names the model that it covers, or all of them; `reader` may not infer."""

    async def identify(self, authorization: str | None) -> Identity:
        """`Bearer <model>`."""
        model = (authorization or "").removeprefix("Bearer ")
        if not model:
            raise Unauthorized("no token")
        actions = ("read",) if model == "reader" else ACTIONS_OF_ROLE["user"]
        return Identity("ann", "user", ("*" if model == "all" else model,), actions, 0.0)


@pytest.fixture
async def http(database: Database) -> AsyncIterator[httpx.AsyncClient]:  # noqa: F811  # the fixture
    """A caller of `status`, as the gateway passes it on."""
    bus = Bus(database, "/torpor/status", unpublished, KEYRING)
    handle = app.build(routes(Deps(database, bus, Scoped(), TRUST, NO_OBJECTS)), ready={})
    caller = {"authorization": "Bearer all"}
    transport = httpx.ASGITransport(handle)
    async with httpx.AsyncClient(transport=transport, base_url="http://status", headers=caller) as client:
        yield client


@pytest.mark.parametrize("status", ["pending", "deploying", "ready", "asleep"])
async def test_a_known_server_is_503_with_what_it_is_at(
    database: Database,  # noqa: F811  # the fixture
    http: httpx.AsyncClient,
    status: str,
) -> None:
    """In OpenAI's error shape, so that its clients wait and try again."""
    await add_server(database, "s", "m", "tiny", status=status)
    answer = await http.post(CHAT, json={})
    error = answer.json()["error"]
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert (error["type"], error["code"], error["phase"], error["reason"]) == (
        "server_error",
        "not_serving",
        status,
        "",
    )
    assert f"tiny cannot be reached, it is {status}; try again in 5 s" == error["message"]


async def test_a_failed_server_says_why(database: Database, http: httpx.AsyncClient) -> None:  # noqa: F811  # the fixture
    """And not to hurry."""
    await add_server(database, "s", "m", "tiny", status="failed")
    await database.execute("UPDATE server_records SET error = 'the image cannot be pulled'")
    answer = await http.get("/m/tiny/v1/models")
    error = answer.json()["error"]
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert (error["phase"], error["reason"]) == ("failed", "the image cannot be pulled")


@pytest.mark.parametrize("name", ["nobody", "gone", "s"])
async def test_an_unknown_server_is_404(database: Database, http: httpx.AsyncClient, name: str) -> None:  # noqa: F811
    """One that never was, one that is deleted, and a uuid, which is no address."""
    await add_server(database, "s", "m", "tiny")
    await add_server(database, "g", "m", "gone", status="deleted")
    answer = await http.post(f"/m/{name}/v1/chat/completions", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_such_server")


@pytest.mark.parametrize(
    ("credential", "status", "code"),
    [
        ("", 401, "invalid_api_key"),
        ("reader", 403, "forbidden"),
        ("other", 403, "forbidden"),
        ("tiny", 503, "not_serving"),
        ("name-m", 503, "not_serving"),
    ],
)
async def test_credentials_come_first(
    database: Database,  # noqa: F811  # the fixture
    http: httpx.AsyncClient,
    credential: str,
    status: int,
    code: str,
) -> None:
    """As at the engine: a name or the model's name is covered, and nobody else learns anything."""
    await add_server(database, "s", "m", "tiny", status="pending")
    answer = await http.post(CHAT, json={}, headers={"authorization": credential and f"Bearer {credential}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_without_a_credential_nothing_is_said_of_names(http: httpx.AsyncClient) -> None:
    """Also of a server that is not there."""
    answer = await http.post("/m/nobody/v1/chat/completions", json={}, headers={"authorization": ""})
    assert answer.status_code == 401
