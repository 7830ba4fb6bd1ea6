"""Events that come late, twice or out of order: records stay as they are, and one row of the history says what came."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web

from functions.download.publish import Publisher
from functions.download.signatures import Policy
from functions.download.vouching import Vouching
from functions.kit import events
from functions.kit.events import Event, FileRequested, ModelRequested
from tests.deliveries import signed

MODEL = "4f0c6a52-0000-4000-8000-000000000001"
FILE = "model.safetensors"
_NUMBERS = itertools.count()


@pytest.fixture
def world_of(make_world: Any, source: Any) -> Any:
    """The function, fetching from the misbehaving hub."""
    return make_world(hf_endpoint=source.url)


async def add_model(world: Any, status: str, **files: str) -> None:
    """A model in a state, with files in theirs."""
    await world.db.execute(
        "INSERT INTO model_records (uuid, model_name, hf_name, source, status, revision, actor) "
        "VALUES ($1, 'model', 'acme/model', 'hf://acme/model', $2, 'main', 'olga')",
        MODEL,
        status,
    )
    for path, state in files.items():
        await world.db.execute(
            "INSERT INTO model_files (model_uuid, path, size_bytes, url, status) VALUES ($1, $2, 1, 'http://hub/', $3)",
            MODEL,
            path,
            state,
        )


async def send(world: Any, event: Event, *, name: str = "") -> int:
    """Deliver an event as the Broker does; without a name it is a new one."""
    data = msgspec.json.encode(event)
    name = name or f"late-{next(_NUMBERS)}"
    headers = events.headers(name, "/torpor/download", event.TYPE, event.subject, {"actor": "olga"})
    return int(await world.send(signed(headers, data), data))


async def rows(world: Any) -> list[tuple[str, ...]]:
    """The history: kind, record, state, cause."""
    found = await world.db.fetch("SELECT kind, record_kind, record_uuid, state, cause FROM event_log ORDER BY id")
    assert {row["record_uuid"] for row in found} <= {MODEL}
    return [(row["kind"], row["record_kind"], row["state"], row["cause"]) for row in found]


async def everything(world: Any) -> Any:
    """The model and its files as they are."""
    return await world.model(MODEL), await world.files(MODEL)


@pytest.mark.parametrize(("status", "kind"), [("available", "illegal"), ("failed", "illegal"), ("deleted", "late")])
async def test_a_late_request_plans_nothing(world: Any, status: str, kind: str) -> None:
    """`model.requested` for a model that is past its plan, and the same event again: nothing moves, one row, 204."""
    await add_model(world, status)
    before = await everything(world)
    assert [await send(world, ModelRequested(MODEL), name="one") for _ in range(2)] == [204, 204]
    assert await everything(world) == before
    assert await rows(world) == [(kind, "model", status, "planned")]
    assert world.broker.types() == []


async def test_the_history_names_the_event(world: Any) -> None:
    """So that the letter, the log lines and the trace of it can be found."""
    await add_model(world, "deleted")
    await send(world, ModelRequested(MODEL), name="the-id")
    row = await world.db.fetchrow("SELECT event_source, event_id FROM event_log")
    assert tuple(row) == ("/torpor/download", "the-id")


@pytest.mark.parametrize(
    ("status", "files", "state"),
    [
        ("downloading", {FILE: "verified", "other": "pending"}, "verified"),
        ("available", {FILE: "verified"}, "verified"),
        ("failed", {FILE: "failed"}, "failed"),
        ("failed", {FILE: "pending"}, "pending"),
        ("deleted", {}, "absent"),
    ],
)
async def test_a_late_slice_moves_no_bytes(world: Any, status: str, files: dict[str, str], state: str) -> None:
    """`file.requested` for a file that is finished or no longer wanted, and the same event again."""
    await add_model(world, status, **files)
    before = await everything(world)
    assert [await send(world, FileRequested(MODEL, FILE, 3), name="one") for _ in range(2)] == [204, 204]
    assert await everything(world) == before
    assert await rows(world) == [("late", "file", state, "claimed")]


async def test_a_slice_between_two_leases_comes_again(world: Any) -> None:
    """An event that finds the file leased is not lost when the lease ends at that moment: 409 or done, never 204."""
    await add_model(world, "downloading", **{FILE: "transferring"})
    await world.db.execute("UPDATE model_files SET lease_until = now() + interval '1 minute'")
    assert await send(world, FileRequested(MODEL, FILE, 0)) == 409
    assert await rows(world) == []


class Meanwhile:
    """The bucket, and something that happens while the files are read once more."""

    def __init__(self, objects: Any, then: Callable[[], Awaitable[object]]) -> None:
        self._objects = objects
        self._then = then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)

    async def get(self, key: str, start: int | None = None, end: int | None = None) -> bytes | None:
        """The last look before the record changes."""
        await self._then()
        data: bytes | None = await self._objects.get(key, start, end)
        return data


@pytest.mark.parametrize(
    ("happens", "state", "kind"),
    [("deleted", "deleted", "late"), ("failed", "failed", "illegal"), ("available", "available", "late")],
)
async def test_a_model_is_published_once_and_never_against_its_state(
    world_of: Any, source: Any, happens: str, state: str, kind: str
) -> None:
    """Deleted, cancelled or published by another worker meanwhile: no second `available`, and no manifest."""
    await add_model(world_of, "downloading", **{FILE: "verified"})
    await world_of.db.execute("UPDATE model_files SET sha256 = repeat('0', 64), size_bytes = $1", len(source.content))
    await world_of.objects.put(f"models/{MODEL}/{FILE}", source.content)
    then = Meanwhile(world_of.objects, lambda: world_of.db.execute("UPDATE model_records SET status = $1", happens))
    workshop = world_of.workshop
    publisher = Publisher(
        world_of.db, workshop.slices.bus, then, workshop.cleanup, workshop.blobs, vouching=Vouching(Policy.NONE, ())
    )
    await publisher.publish(MODEL)
    assert (await world_of.model(MODEL))["status"] == state
    assert world_of.broker.types() == []
    assert await rows(world_of) == [(kind, "model", state, "published")]
    assert await world_of.objects.get(f"manifests/{MODEL}.json") is None


# The second may notice at a beat, before it has everything.
@pytest.mark.parametrize(
    ("answer", "causes"),
    [(404, {"refused"}), (200, {"claimed", "verified"})],
    ids=["its source refuses", "it has the last byte"],
)
async def test_who_lost_the_lease_changes_neither_file_nor_model(
    world_of: Any, source: Any, answer: int, causes: set[str]
) -> None:
    """Another worker has verified the file meanwhile: what this one found out is late, whatever it is."""
    asked, gate = asyncio.Event(), asyncio.Event()

    async def hold(_: Any, __: web.Request) -> Any:
        asked.set()
        await gate.wait()
        return web.Response(status=answer) if answer != 200 else None

    source.behave = hold
    await add_model(world_of, "downloading", **{FILE: "pending", "other": "pending"})
    await world_of.db.execute(
        "UPDATE model_files SET url = $1, size_bytes = $2 WHERE path = $3",
        f"{source.url}/file/{FILE}",
        len(source.content),
        FILE,
    )
    slice_ = asyncio.create_task(send(world_of, FileRequested(MODEL, FILE, 0)))
    await asked.wait()
    await world_of.db.execute("UPDATE model_files SET status = 'verified', lease_until = NULL WHERE path = $1", FILE)
    gate.set()
    assert await slice_ == 204
    model, files = await everything(world_of)
    assert (model["status"], files[FILE]["status"], files["other"]["status"]) == ("downloading", "verified", "pending")
    ((*what, cause),) = await rows(world_of)
    assert what == ["late", "file", "verified"]
    assert cause in causes
