"""Cold starts: what engines report is stored once, and shown by revision with the wait before their process began."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest

from functions.kit import app, events
from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.events import EngineStarted
from functions.status.app import routes
from functions.status.deps import Deps
from tests.deliveries import KEYRING, TRUST, signed
from tests.integration.test_status import Admin, add_server, database, get, unpublished  # noqa: F401  # a fixture
from tests.nowhere import NO_OBJECTS

BEGAN = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
async def http(database: Database) -> AsyncIterator[httpx.AsyncClient]:  # noqa: F811  # the fixture
    """A caller of `status`."""
    bus = Bus(database, "/torpor/status", unpublished, KEYRING)
    handle = app.build(routes(Deps(database, bus, Admin(), TRUST, NO_OBJECTS)), ready={})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(handle), base_url="http://status") as client:
        yield client


async def started(http: httpx.AsyncClient, event_id: str, revision: str = "s-00001", **changes: Any) -> int:
    """Deliver a start as an engine does; answers the HTTP status."""
    start = EngineStarted("s", revision, BEGAN.isoformat(), 9000, 24000, 25000)
    body = msgspec.json.encode({**msgspec.to_builtins(start), **changes})
    headers = signed(events.headers(event_id, "/torpor/engine", EngineStarted.TYPE, "s", {}), body)
    return (await http.post("/events", headers=headers, content=body)).status_code


async def woken(db: Database, at: datetime, revision: str = "s-00001") -> None:
    """The cluster began to bring the revision up."""
    await db.execute("INSERT INTO wakes (revision, woken_at) VALUES ($1, $2)", revision, at)


async def test_a_start_is_shown_phase_by_phase(database: Database, http: httpx.AsyncClient) -> None:  # noqa: F811
    """One after the other, so that their sum is the wait; delivered twice it is one start."""
    await add_server(database, "u", "m", "s")
    await woken(database, BEGAN - timedelta(seconds=3))
    assert [await started(http, "1"), await started(http, "1")] == [204, 204]
    (shown,) = (await get(http, "/status/s"))["cold_starts"]
    phases = {"schedule_ms": 3000, "fetch_ms": 9000, "load_ms": 15000, "ready_ms": 1000}
    assert (shown["revision"], shown["starts"], shown["last"], shown["median"]) == ("s-00001", 1, phases, phases)


async def test_each_revision_has_its_own_figures(database: Database, http: httpx.AsyncClient) -> None:  # noqa: F811
    """The latest first; the last start and the middle of all."""
    await add_server(database, "u", "m", "s")
    for number, ready_ms in enumerate((25000, 27000, 40000)):
        began = BEGAN + timedelta(hours=number)
        await started(http, str(number), began_at=began.isoformat(), ready_ms=ready_ms)
    await started(http, "new", "s-00002", began_at=(BEGAN + timedelta(days=1)).isoformat(), fetched_ms=None)
    new, old = (await get(http, "/status/s"))["cold_starts"]
    assert (new["revision"], old["revision"], old["starts"]) == ("s-00002", "s-00001", 3)
    assert (new["last"]["fetch_ms"], new["last"]["load_ms"]) == (None, 24000)
    assert (old["last"]["ready_ms"], old["median"]["ready_ms"]) == (16000, 3000)


async def test_only_the_first_start_after_a_wake_was_waited_for(
    database: Database,  # noqa: F811  # the fixture
    http: httpx.AsyncClient,
) -> None:
    """A second replica joined later, and a wake of another revision or after the start explains nothing."""
    await add_server(database, "u", "m", "s")
    await woken(database, BEGAN - timedelta(seconds=5))
    await woken(database, BEGAN - timedelta(seconds=2))
    await woken(database, BEGAN - timedelta(seconds=1), "t-00001")
    await woken(database, BEGAN + timedelta(hours=1))
    await started(http, "1")
    await started(http, "2", began_at=(BEGAN + timedelta(minutes=1)).isoformat())
    rows = (await get(http, "/status/s"))["cold_starts"][0]
    assert (rows["last"]["schedule_ms"], rows["median"]["schedule_ms"]) == (None, 2000)


@pytest.mark.parametrize("changes", [{"ready_ms": -1}, {"fetched_ms": 2**40}, {"began_at": "today"}])
async def test_figures_that_cannot_be_are_rejected(http: httpx.AsyncClient, changes: dict[str, Any]) -> None:
    """400: a retry would meet the same."""
    assert await started(http, "1", **changes) == 400
