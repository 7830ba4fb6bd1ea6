"""`status` over real PostgreSQL: what it reads of records that other functions wrote, and what it stores once."""

import dataclasses
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest

from functions.kit import app
from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.events import UsageRecord, UsageRecorded, headers
from functions.kit.identity import ACTIONS_OF_ROLE, Identity
from functions.kit.settings import Secret
from functions.status.app import routes
from functions.status.deps import Deps
from tests.deliveries import KEYRING, TRUST, signed
from tests.nowhere import NO_OBJECTS

NOW = datetime.now(UTC)


class Admin:
    """A verifier that takes every caller for an administrator."""

    async def identify(self, authorization: str | None) -> Identity:
        """The administrator."""
        del authorization
        return Identity("admin", "admin", ("*",), ACTIONS_OF_ROLE["admin"], 0.0)


async def unpublished(headers: Mapping[str, str], data: bytes) -> None:
    """A Broker that takes everything."""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The migrated database of this test."""
    db = Database(Secret(database_url))
    yield db
    await db.close()


@pytest.fixture
async def http(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A caller of the function."""
    bus = Bus(database, "/torpor/status", unpublished, KEYRING)
    handle = app.build(routes(Deps(database, bus, Admin(), TRUST, NO_OBJECTS)), ready={"PostgreSQL": database.ping})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(handle), base_url="http://status") as client:
        yield client


async def add_model(db: Database, uuid: str, *, status: str = "available", age_s: float = 0.0) -> None:
    """A model named name-<uuid>, created `age_s` ago."""
    await db.execute(
        "INSERT INTO model_records (uuid, model_name, hf_name, source, status, created_at) VALUES ($1,$2,$3,$4,$5,$6)",
        uuid,
        f"name-{uuid}",
        f"owner/{uuid}",
        f"hf://owner/{uuid}",
        status,
        NOW - timedelta(seconds=age_s),
    )


async def add_file(db: Database, model: str, path: str, status: str, of: tuple[int, int | None]) -> None:
    """A file of a model, bytes done `of` its size, that moved 100 bytes per second just now."""
    await db.execute(
        "INSERT INTO model_files (model_uuid, path, size_bytes, url, status, bytes_done, rate_bps) "
        "VALUES ($1, $2, $3, 'http://hub/', $4, $5, 100)",
        model,
        path,
        of[1],
        status,
        of[0],
    )


async def add_server(db: Database, uuid: str, model: str, name: str, *, status: str = "ready") -> None:
    """A server of a model, seen with one replica."""
    await db.execute(
        "INSERT INTO server_records (uuid, model_uuid, model_name, service_name, namespace, status, observed) "
        "VALUES ($1, $2, $3, $4, 'torpor', $5, $6)",
        uuid,
        model,
        f"name-{model}",
        name,
        status,
        {"replicas": 1},
    )


async def get(http: httpx.AsyncClient, path: str, **query: str | int) -> Any:
    """The JSON of a 200."""
    response = await http.get(path, params=query)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    return response.json()


async def walk(http: httpx.AsyncClient, path: str, member: str, limit: int) -> list[Any]:
    """All items of a list, page by page."""
    items, cursor = [], ""
    while True:
        page = await get(http, path, limit=limit, cursor=cursor)
        items += page[member]
        cursor = page["next_cursor"]
        if cursor is None:
            return items


async def test_a_download_shows_bytes_rate_and_time_left(database: Database, http: httpx.AsyncClient) -> None:
    """Sums over all files, the rate of those that move, the end from both; per file and for the model."""
    await add_model(database, "m", status="downloading")
    await add_file(database, "m", "a", "verified", (1000, 1000))
    await add_file(database, "m", "b", "transferring", (400, 1000))
    await add_file(database, "m", "c", "pending", (0, 1000))
    model = await get(http, "/models/m")
    shown = {name: model[name] for name in ("bytes_done", "bytes_total", "rate_bps", "eta_s")}
    assert shown == {"bytes_done": 1400, "bytes_total": 3000, "rate_bps": 100.0, "eta_s": 16.0}
    assert [(f["path"], f["rate_bps"], f["eta_s"]) for f in model["files"]] == [
        ("a", 0.0, 0.0),
        ("b", 100.0, 6.0),
        ("c", 0.0, None),
    ]
    listed = (await get(http, "/models"))["models"][0]
    assert listed | {name: model[name] for name in ("files", "storage")} == model
    assert model["storage"] == {"shared_bytes": 0, "unique_bytes": 1000}


async def test_an_unknown_size_makes_the_total_unknown(database: Database, http: httpx.AsyncClient) -> None:
    """A total that leaves a file out would promise too early an end."""
    await add_model(database, "m", status="downloading")
    await add_file(database, "m", "a", "transferring", (400, 1000))
    await add_file(database, "m", "b", "transferring", (0, None))
    model = await get(http, "/models/m")
    assert (model["bytes_total"], model["eta_s"]) == (None, None)


@pytest.mark.parametrize("name", ["m", "name-m", "owner/m"])
async def test_a_model_is_found_by_uuid_name_and_hub_name(
    database: Database, http: httpx.AsyncClient, name: str
) -> None:
    """Whatever a person calls it."""
    await add_model(database, "m")
    assert (await get(http, f"/models/{name}"))["uuid"] == "m"


async def test_a_model_shows_the_server_that_serves_it(database: Database, http: httpx.AsyncClient) -> None:
    """The live one; a deleted server is history."""
    await add_model(database, "m")
    await add_server(database, "old", "m", "m", status="deleted")
    await add_server(database, "s", "m", "m")
    server = (await get(http, "/models/m"))["server"]
    alone = await get(http, "/status/m")
    assert (server["uuid"], server["replicas"], {name: alone[name] for name in server}) == ("s", 1, server)


async def test_lists_show_what_lives(database: Database, http: httpx.AsyncClient) -> None:
    """/models leaves out the deleted, /models/available all but the available, /status deleted servers."""
    for status in ("downloading", "available", "failed", "deleted"):
        await add_model(database, status, status=status)
    await add_server(database, "gone", "available", "gone", status="deleted")
    await add_server(database, "s", "available", "s")
    models = {model["uuid"] for model in (await get(http, "/models"))["models"]}
    available = [model["uuid"] for model in (await get(http, "/models/available"))["models"]]
    servers = [server["uuid"] for server in (await get(http, "/status"))["servers"]]
    assert (models, available, servers) == ({"downloading", "available", "failed"}, ["available"], ["s"])


async def test_pages_follow_each_other_without_gap_or_overlap(database: Database, http: httpx.AsyncClient) -> None:
    """Also between rows of the same instant."""
    for number in range(7):
        await add_model(database, f"m{number}", age_s=number // 3)
        await add_server(database, f"s{number}", f"m{number}", f"s{number}")
    models = [model["uuid"] for model in await walk(http, "/models", "models", 2)]
    servers = [server["uuid"] for server in await walk(http, "/status", "servers", 2)]
    assert models == ["m2", "m1", "m0", "m5", "m4", "m3", "m6"]
    assert sorted(servers) == [f"s{number}" for number in range(7)]


def usage_event(event_id: str, **changes: object) -> tuple[dict[str, str], bytes]:
    """A delivery of one usage record."""
    record = UsageRecord("r", "alice", None, "tiny", 10, 5, "2026-01-31T23:30:00-01:00", 12, 200, streamed=True)
    changed = dataclasses.replace(record, **changes)  # type: ignore[arg-type]  # the test's own names
    batch = UsageRecorded("tiny", [changed])
    return headers(event_id, "/torpor/engine/tiny", batch.TYPE, batch.subject, {}), msgspec.json.encode(batch)


async def post(http: httpx.AsyncClient, path: str, delivery: tuple[dict[str, str], bytes]) -> httpx.Response:
    """Deliver an event as the Broker does."""
    return await http.post(path, headers=signed(*delivery), content=delivery[1])


async def test_usage_is_counted_once_however_often_it_is_delivered(http: httpx.AsyncClient) -> None:
    """The Broker delivers at least once; the ledger counts exactly once, by UTC day."""
    answers = [await post(http, "/events", usage_event(event_id)) for event_id in ("1", "1", "2")]
    assert [(answer.status_code, answer.content) for answer in answers] == [(204, b"")] * 3
    assert (await get(http, "/usage"))["usage"] == [
        {
            "day": "2026-02-01",
            "model": "tiny",
            "subject": "alice",
            "key_id": None,
            "requests": 2,
            "errors": 0,
            "prompt_tokens": 20,
            "completion_tokens": 10,
        }
    ]


async def test_usage_is_summed_by_day_model_caller_and_key(http: httpx.AsyncClient) -> None:
    """Newest day first, every combination one row, in pages; filters narrow it."""
    variants: list[dict[str, object]] = [
        {},
        {"key_id": "k"},
        {"subject": "bob"},
        {"model_name": "big"},
        {"started_at": "2026-03-01T00:00:00Z"},
    ]
    for number, changes in enumerate(variants):
        await post(http, "/events", usage_event(str(number), **changes))
    rows = await walk(http, "/usage", "usage", 2)
    assert [(row["day"], row["model"], row["subject"], row["key_id"]) for row in rows] == [
        ("2026-03-01", "tiny", "alice", None),
        ("2026-02-01", "tiny", "bob", None),
        ("2026-02-01", "tiny", "alice", "k"),
        ("2026-02-01", "tiny", "alice", None),
        ("2026-02-01", "big", "alice", None),
    ]
    filters = {"from": "2026-02-01T00:00:00Z", "to": "2026-02-02T00:00:00Z", "model": "tiny", "subject": "alice"}
    assert len((await get(http, "/usage", **filters))["usage"]) == 2


@pytest.mark.parametrize(
    "changes",
    [{"prompt_tokens": -1}, {"duration_ms": 2**31}, {"started_at": "today"}, {"started_at": "2026-01-31T00:00:00"}],
)
async def test_usage_that_cannot_be_counted_is_rejected(http: httpx.AsyncClient, changes: dict[str, object]) -> None:
    """400, so that it becomes a dead letter at once and nobody retries it."""
    answer = await post(http, "/events", usage_event("1", **changes))
    assert (answer.status_code, (await get(http, "/usage"))["usage"]) == (400, [])


async def test_a_tick_is_acknowledged(http: httpx.AsyncClient) -> None:
    """Nothing is in the outbox: nothing happens, with an empty 204."""
    tick = headers("1", "/apis/v1/namespaces/torpor/pingsources/tick", "dev.knative.sources.ping", "", {"x": "y"})
    answer = await post(http, "/events", (tick, b"{}"))
    assert (answer.status_code, answer.content) == (204, b"")


async def test_postgres_being_away_is_said() -> None:
    """503 that names PostgreSQL, on reads and on /readyz; an empty list would be a lie."""
    away = Database(Secret("postgresql://nobody@127.0.0.1:1/none"))
    deps = Deps(away, Bus(away, "/t", unpublished, KEYRING), Admin(), TRUST, NO_OBJECTS)
    handle = app.build(routes(deps), ready={"PostgreSQL": away.ping})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(handle), base_url="http://status") as http:
        answers = [await http.get(path) for path in ("/models", "/status", "/usage", "/readyz")]
    assert [(answer.status_code, "PostgreSQL" in answer.json()["detail"]) for answer in answers] == [(503, True)] * 4


async def test_a_restart_of_postgres_passes(database_url: str, http: httpx.AsyncClient) -> None:
    """A cut session costs one call at most: the caller is told to try again, and the next try works."""
    await get(http, "/models")
    other = Database(Secret(database_url))
    await other.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND datname = current_database()"
    )
    await other.close()
    answers = [(await http.get("/models")).status_code for _ in range(3)]
    assert (set(answers) <= {200, 503}, answers[-1]) == (True, 200)
