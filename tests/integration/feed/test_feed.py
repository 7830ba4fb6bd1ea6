"""`GET /events`: what follows whom, from where it goes on, and who may hear what."""

import asyncio
from typing import Any

import pytest

from functions.kit.events import ModelAvailable, ModelDeleted, ModelFailed
from tests.integration.feed.conftest import Feed, Heard


async def add_model(feed: Feed, uuid: str, status: str = "downloading") -> None:
    """A model named name-<uuid>, which nobody has touched for a while."""
    await feed.db.execute(
        "INSERT INTO model_records (uuid, model_name, source, status, updated_at) "
        "VALUES ($1, $2, 'hf://a/b', $3, now() - interval '1 hour')",
        uuid,
        f"name-{uuid}",
        status,
    )


async def heard(stream: Any, count: int) -> list[Heard]:
    """The next events of a stream."""
    async with asyncio.timeout(20):
        return [await anext(stream) for _ in range(count)]


def told(events: list[Heard]) -> list[tuple[str, str]]:
    """Type and model of news."""
    return [(each.event, each.data["model_uuid"]) for each in events]


async def test_what_happens_is_heard_in_order(feed: Feed) -> None:
    """Each followed type, with its id, its model's name and its data; an event delivered twice is heard once."""
    await add_model(feed, "m")
    async with feed.follow() as stream:
        (start,) = await heard(stream, 1)
        await feed.happens(ModelFailed("m", "no such repository"))
        await feed.happens(ModelAvailable("m", "name-m"))
        await feed.happens(ModelDeleted("m"))
        events = await heard(stream, 3)
    assert told(events) == [("model.failed", "m"), ("model.available", "m"), ("model.deleted", "m")]
    assert [int(each.id) - int(start.id) for each in events] == [1, 2, 3]
    assert (events[0].data["data"]["reason"], events[0].data["model_name"]) == ("no such repository", "name-m")


async def test_a_client_that_comes_back_has_missed_nothing(feed: Feed) -> None:
    """From its last id on, also when that is the one that a stream without news began with; more than one page of them."""
    async with feed.follow() as stream:
        (start,) = await heard(stream, 1)
    await feed.db.execute(
        "INSERT INTO feed (type, subject, data) SELECT 'model.failed', n::text, '{}' FROM generate_series(1, 250) n"
    )
    async with feed.follow(after=start.id) as stream:
        _, *events = await heard(stream, 251)
        assert [each.data["subject"] for each in events] == [str(number) for number in range(1, 251)]
        await feed.happens(ModelDeleted("later"))
        (last,) = await heard(stream, 1)
    async with feed.follow(after=events[-1].id) as stream:
        assert [each.id for each in (await heard(stream, 2))[1:]] == [last.id]


@pytest.mark.parametrize("after", ["9999", "-1", "1e3", "9" * 40, "' OR 1=1", "%00", "٣"])
async def test_an_id_that_was_never_given_follows_from_now_on(feed: Feed, after: str) -> None:
    """A browser cannot correct what it sends, and an error would end it for good."""
    await feed.happens(ModelDeleted("before"))
    sent = {"authorization": "Bearer user:*"}
    raw = [(name.encode(), text.encode()) for name, text in (sent | {"last-event-id": after}).items()]
    async with feed.http.stream("GET", "/events", headers=raw) as response:
        assert response.status_code == 200
    async with feed.follow(after=after if after.isascii() else "") as stream:
        await heard(stream, 1)
        await feed.happens(ModelDeleted("now"))
        assert [each.data["subject"] for each in await heard(stream, 1)] == ["now"]


async def test_news_committed_out_of_order_is_not_lost(feed: Feed) -> None:
    """Two handlers write side by side: the one that got its id first cannot commit behind a reader's back."""
    async with feed.follow() as stream:
        await heard(stream, 1)
        await asyncio.gather(*(feed.happens(ModelDeleted(f"m{number}")) for number in range(40)))
        events = await heard(stream, 40)
    assert [int(each.id) for each in events] == sorted(int(each.id) for each in events)
    assert {each.data["subject"] for each in events} == {f"m{number}" for number in range(40)}


async def test_a_download_is_heard_while_it_moves(feed: Feed) -> None:
    """The record as GET /models answers it, with the files that move, whenever it has changed; of one model alone."""
    for uuid in ("m", "other"):
        await add_model(feed, uuid)
        await feed.db.execute(
            "INSERT INTO model_files (model_uuid, path, size_bytes, url, status, bytes_done, rate_bps) "
            "VALUES ($1, 'a', 1000, 'http://hub/', 'transferring', 100, 50)",
            uuid,
        )
    async with feed.follow(model="name-m") as stream:
        await heard(stream, 1)
        (first,) = await heard(stream, 1)
        await feed.db.execute("UPDATE model_files SET bytes_done = 600, updated_at = now()")
        (second,) = await heard(stream, 1)
        await feed.db.execute("UPDATE model_files SET status = 'verified', bytes_done = 1000")
        await feed.db.execute("UPDATE model_records SET status = 'available', updated_at = now()")
        (last,) = await heard(stream, 1)
    shown = [(e.id, e.event, e.data["uuid"], e.data["phase"], e.data["bytes_done"]) for e in (first, second, last)]
    assert shown == [
        ("", "model", "m", "transferring", 100),
        ("", "model", "m", "transferring", 600),
        ("", "model", "m", "available", 1000),
    ]
    assert [(file["path"], file["rate_bps"], file["eta_s"]) for file in second.data["files"]] == [("a", 50.0, 8.0)]


async def test_a_server_is_heard_when_it_changes(feed: Feed) -> None:
    """The record as GET /status/{name} answers it."""
    await add_model(feed, "m", "available")
    async with feed.follow() as stream:
        await heard(stream, 1)
        await feed.db.execute(
            "INSERT INTO server_records (uuid, model_uuid, model_name, service_name, status) "
            "VALUES ('s', 'm', 'name-m', 'tiny', 'ready')"
        )
        (event,) = await heard(stream, 1)
    assert (event.id, event.event, event.data["name"], event.data["status"]) == ("", "server", "tiny", "ready")


async def test_a_credential_for_one_model_hears_of_no_other(feed: Feed) -> None:
    """Nor of what belongs to no model."""
    for uuid in ("mine", "theirs"):
        await add_model(feed, uuid)
    async with feed.follow(who="user:name-mine") as stream:
        await heard(stream, 1)
        await feed.happens(ModelDeleted("theirs"))
        await feed.happens(ModelDeleted("of nobody"))
        await feed.happens(ModelDeleted("mine"))
        assert told(await heard(stream, 1)) == [("model.deleted", "mine")]


@pytest.mark.parametrize(("who", "count"), [("user:*:asker", 2), ("user:*:other", 1), ("operator:*:other", 2)])
async def test_what_is_somebodys_own_is_heard_by_them_and_by_operators(feed: Feed, who: str, count: int) -> None:
    """A request's result is its asker's business."""
    async with feed.follow(who=who) as stream:
        (start,) = await heard(stream, 1)
    await feed.db.execute(
        "INSERT INTO feed (type, subject, asker, data) VALUES ('inference.completed', 'i', 'asker', '{}'), "
        "('model.failed', 'm', NULL, '{}')"
    )
    async with feed.follow(who=who, after=start.id) as stream:
        _, *events = await heard(stream, 1 + count)
    assert [each.data["subject"] for each in events] == ["i", "m"][-count:]


@pytest.mark.parametrize(("path", "who", "status"), [("/events", "nobody", 401), ("/events?model=none", "user:*", 404)])
async def test_who_may_not_follow_is_told(feed: Feed, path: str, who: str, status: int) -> None:
    """As for every other read."""
    assert (await feed.http.get(path, headers={"authorization": f"Bearer {who}"})).status_code == status
