"""What rollouts are judged by: usage is stored with the revision that answered, and serve is told while one is under way."""

import dataclasses
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import msgspec
import pytest

from functions.kit import app, events
from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.events import RolloutMeasured, UsageRecord, UsageRecorded
from functions.status.app import routes
from functions.status.deps import Deps
from tests.deliveries import KEYRING, TRUST, signed
from tests.integration.test_status import Admin, add_server, database, get  # noqa: F401  # database: a fixture
from tests.nowhere import NO_OBJECTS

RECORD = UsageRecord("r", "ann", None, "m", 10, 5, "2026-01-31T00:00:00Z", 12, 200, True, "s-00002", 7)


class Wire:
    """A Broker that keeps what it took."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str]] = []

    async def __call__(self, headers: Mapping[str, str], data: bytes) -> None:
        """Take it."""
        del data
        self.taken.append((headers["ce-type"], headers["ce-subject"]))


@pytest.fixture
def wire() -> Wire:
    """Where status sends its events."""
    return Wire()


@pytest.fixture
async def http(database: Database, wire: Wire) -> AsyncIterator[httpx.AsyncClient]:  # noqa: F811  # the fixture
    """A caller of `status`."""
    bus = Bus(database, "/torpor/status", wire, KEYRING)
    handle = app.build(routes(Deps(database, bus, Admin(), TRUST, NO_OBJECTS)), ready={})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(handle), base_url="http://status") as client:
        yield client


async def used(http: httpx.AsyncClient, event_id: str, data: Any = None, **changes: Any) -> int:
    """Deliver usage of the server `s`; answers the HTTP status."""
    batch = UsageRecorded("s", [dataclasses.replace(RECORD, **changes)])
    body = msgspec.json.encode(data or batch)
    headers = signed(events.headers(event_id, "/torpor/engine", batch.TYPE, "s", {}), body)
    return (await http.post("/events", headers=headers, content=body)).status_code


async def begin_rollout(db: Database, uuid: str, *, server: str = "s", over: bool = False) -> None:
    """A rollout of a server, under way unless it is over."""
    await db.execute(
        "INSERT INTO rollouts (uuid, server_uuid, server_name, namespace, status, strategy, model_uuid, model_name, "
        "previous_model_uuid, previous_model_name, stable_revision, finished_at) "
        "VALUES ($1, $1, $2, 'torpor', 'stepping', 'canary', 'm', 'm', 'm', 'm', 's-00001', "
        "CASE WHEN $3 THEN now() END)",
        uuid,
        server,
        over,
    )


async def test_usage_is_stored_with_its_revision_and_first_token(
    database: Database,  # noqa: F811  # the fixture
    http: httpx.AsyncClient,
) -> None:
    """An engine of an older release that says neither is counted all the same; numbers that cannot be are not."""
    old = msgspec.to_builtins(RECORD)
    del old["revision"], old["first_token_ms"]
    answers = [
        await used(http, "new"),
        await used(http, "old", {"server": "s", "records": [old]}),
        await used(http, "odd", first_token_ms=-1),
    ]
    rows = await database.fetch("SELECT event_id, revision, first_token_ms FROM usage ORDER BY event_id")
    assert ([204, 204, 400], [("new", "s-00002", 7), ("old", None, None)]) == (answers, [tuple(row) for row in rows])


async def test_what_the_engine_failed_is_an_error_that_costs_nothing(http: httpx.AsyncClient) -> None:
    """It counts as a request and as an error; the sums of tokens stay as they are."""
    await used(http, "good")
    await used(http, "bad", status=500, prompt_tokens=0, completion_tokens=0)
    (row,) = (await get(http, "/usage"))["usage"]
    shown = (row["requests"], row["errors"], row["prompt_tokens"], row["completion_tokens"])
    assert (2, 1, 10, 5) == shown


async def test_usage_is_told_only_while_a_rollout_is_under_way(
    database: Database,  # noqa: F811  # the fixture
    http: httpx.AsyncClient,
    wire: Wire,
) -> None:
    """Of this server, and not of one whose rollout is over."""
    await begin_rollout(database, "over", over=True)
    await begin_rollout(database, "others", server="t")
    await used(http, "1")
    assert [] == wire.taken
    await begin_rollout(database, "mine")
    await used(http, "2")
    assert [(RolloutMeasured.TYPE, "mine")] == wire.taken


async def test_a_busy_server_is_told_of_once_a_second(
    database: Database,  # noqa: F811  # the fixture
    http: httpx.AsyncClient,
    wire: Wire,
) -> None:
    """However many engines report; a clock that was set back does not silence it."""
    await begin_rollout(database, "mine")
    await database.execute("UPDATE rollouts SET measured_at = now() + interval '1 hour'")
    await used(http, "1")
    # As if everything that follows came within the same second, however slow the machine.
    await database.execute("UPDATE rollouts SET measured_at = now() + interval '1 minute'")
    for number in range(2, 5):
        await used(http, str(number))
    assert 1 == len(wire.taken)
    await database.execute("UPDATE rollouts SET measured_at = now() - interval '2 seconds'")
    await used(http, "5")
    assert [(RolloutMeasured.TYPE, "mine")] * 2 == wire.taken


async def used_by(http: httpx.AsyncClient, event_id: str, memory_mb: Any, cpu_percent: Any) -> int:
    """Deliver a batch of an engine that uses so much."""
    own = {"memory_mb": memory_mb, "cpu_percent": cpu_percent}
    return await used(http, event_id, {"server": "s", "records": [msgspec.to_builtins(RECORD)], **own})


async def test_what_an_engine_uses_is_shown_while_it_is_awake(
    database: Database,  # noqa: F811  # the fixture
    http: httpx.AsyncClient,
) -> None:
    """Of the one that reported last; a little more or less is no news, and what cannot be loses no usage."""
    await add_server(database, "u", "m", "s")
    seen = []
    for number, told in enumerate([(900, 150.25), (903, 151.0), (None, None), (2**40, -1.0)]):
        assert await used_by(http, str(number), *told) == 204
        server = await get(http, "/status/s")
        seen.append((server["memory_usage_mb"], server["cpu_usage_percent"]))
    assert seen == [(900, 150.2), (900, 150.2), (900, 150.2), (2**31 - 1, 0.0)]
    await database.execute("UPDATE server_records SET status = 'asleep', memory_usage_mb = 0")
    await used_by(http, "late", 900, 1.0)
    assert (await get(http, "/status/s"))["memory_usage_mb"] == 0
    assert await database.fetchval("SELECT count(*) FROM usage") == 5
