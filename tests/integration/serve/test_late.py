"""Events that come late, twice or out of order: servers stay as they are, and one row of the history says what came."""

from typing import Any

import pytest

from functions.kit.events import ModelAvailable
from kn_model.local.objects.kinds import SERVICE
from tests.integration.serve.world import NAMESPACE, Json, World, world

READY = ("Ready", "True", "")
DEPLOYING = ("Ready", "Unknown", "Deploying")
FAILED = ("Ready", "False", "RevisionFailed")
AWAKE = ("Active", "True", "")
ASLEEP = ("Active", "False", "NoTraffic")


@pytest.fixture
async def serve(database_url: str, tmp_path: Any) -> Any:
    """`serve` on a database of its own."""
    async with world(database_url, tmp_path) as everything:
        yield everything


async def rows(serve: World) -> list[tuple[str, ...]]:
    """The history: kind, record, state, cause."""
    found = await serve.db.fetch("SELECT kind, record_kind, state, cause FROM event_log ORDER BY id")
    return [tuple(row) for row in found]


async def told(serve: World, *news: Json) -> list[int]:
    """Each object in an event, and each of these events twice."""
    kind = "dev.knative.apiserver.resource.update"
    return [
        (await serve.event(kind, obj, id=f"late-{number}")).status_code
        for number, obj in enumerate(news)
        for _ in range(2)
    ]


async def history(serve: World, *reports: Any) -> list[list[Json]]:
    """What the cluster said, one after another, each Service and Revision; nothing is delivered yet."""
    return [await serve.cluster.report("smol", *conditions, replicas=replicas) for *conditions, replicas in reports]


async def test_news_out_of_order_leaves_the_newest(serve: World) -> None:
    """Failed, then ready; told the other way round, and each twice: ready it stays, one row for each late object."""
    await serve.running()
    old, new = await history(serve, (FAILED, ASLEEP, 0), (READY, AWAKE, 1))
    assert await told(serve, *new) == [204] * 4
    before = dict(await serve.server("smol"))
    assert (before["status"], await rows(serve)) == ("ready", [])
    assert [await serve.tell(obj) for obj in old] == [[204], [204]]
    assert dict(await serve.server("smol")) == before
    assert [row[:3] for row in await rows(serve)] == [("late", "server", "ready")] * 2


async def test_late_news_says_what_it_would_have_meant(serve: World) -> None:
    """The cause is the one that the old object would have been, the detail names it and what is known."""
    await serve.running()
    ((old, _), (new, _)) = await history(serve, (FAILED, ASLEEP, 0), (READY, AWAKE, 1))
    await serve.tell(new)
    await serve.tell(old)
    row = await serve.db.fetchrow("SELECT cause, detail, event_source FROM event_log")
    version, known = (obj["metadata"]["resourceVersion"] for obj in (old, new))
    uid = new["metadata"]["uid"]
    assert tuple(row) == ("broken", f"Service smol in version {version}; {known} of {uid} is known", "/test")


async def test_a_late_event_twice_is_one_row(serve: World) -> None:
    """The mark of the event and its row are one transaction."""
    await serve.running()
    ((old, _), (new, _)) = await history(serve, (FAILED, ASLEEP, 0), (READY, AWAKE, 1))
    await serve.tell(new)
    assert await told(serve, old) == [204, 204]
    assert await rows(serve) == [("late", "server", "ready", "broken")]


async def test_news_of_a_deleted_server_is_late(serve: World) -> None:
    """It stays deleted, whatever its objects were."""
    await serve.running()
    (news,) = await history(serve, (READY, AWAKE, 1))
    await serve.http.delete("/serve/smol")
    await serve.deliver()
    assert await told(serve, *news) == [204] * 4
    await serve.deliver()
    assert (await serve.status("smol"), serve.cluster.names(SERVICE)) == (("deleted", None), [])
    assert [row[:3] for row in await rows(serve)] == [("late", "server", "deleted")] * 2


async def test_an_old_services_end_is_late(serve: World) -> None:
    """The Service was made again already; the delete event of the one before asks for nothing."""
    await serve.running()
    gone = await serve.cluster.store.delete(SERVICE, NAMESPACE, "smol")
    await serve.tell(gone, change="delete")
    await serve.deliver()
    before = dict(await serve.server("smol"))
    assert await serve.tell(gone, change="delete") == [204]
    assert dict(await serve.server("smol")) == before
    assert await rows(serve) == [("late", "server", "deploying", "requested")]


async def test_a_model_that_is_gone_is_not_served(serve: World) -> None:
    """`model.available` hours after the model was deleted, and the same event again: no server, one row."""
    await serve.db.execute("UPDATE model_records SET status = 'deleted', serve = '{}'")
    event = {"model_uuid": "m-1", "model_name": "smol"}
    assert [(await serve.event(ModelAvailable.TYPE, event, id="one")).status_code for _ in range(2)] == [204, 204]
    assert await serve.db.fetchval("SELECT count(*) FROM server_records") == 0
    assert await rows(serve) == [("late", "model", "deleted", "served")]


async def test_what_is_known_already_is_no_late_news(serve: World) -> None:
    """A restarted source tells everything again, and a tick lists everything every minute: neither is worth a row."""
    await serve.running()
    (news,) = await history(serve, (READY, AWAKE, 1))
    await serve.tell(*news)
    await serve.tell(*news)
    await serve.tick()
    await serve.http.delete("/serve/smol")
    await serve.tick()
    assert await rows(serve) == []
