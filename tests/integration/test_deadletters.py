"""Dead letters over real PostgreSQL: kept as they came, found again, sent again once."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from functions.kit import app, events
from functions.kit.bus import Bus, PublishError
from functions.kit.db import Database
from functions.kit.identity import ACTIONS_OF_ROLE, Identity
from functions.kit.settings import Secret
from functions.status.app import routes
from functions.status.deps import Deps
from functions.status.redrive import MAX_PER_CALL
from tests.deliveries import KEYRING, TRUST, delivered

DESTINATION = "http://download.torpor.svc.cluster.local/events"


class Olga:
    """A verifier that takes every caller for Olga, who operates."""

    async def identify(self, _: str | None) -> Identity:
        """Olga."""
        return Identity("olga", "operator", ("*",), ACTIONS_OF_ROLE["operator"], 0.0)


@dataclass
class Broker:
    """Keeps what is published. `down`: takes nothing."""

    published: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    down: bool = False

    async def __call__(self, headers: Mapping[str, str], data: bytes) -> None:
        """One event."""
        await asyncio.sleep(0)
        if self.down:
            raise PublishError("the Broker is down (test)")
        self.published.append((dict(headers), data))

    def ids(self) -> list[str]:
        """What was published, by id."""
        return [headers["ce-id"] for headers, _ in self.published]


@dataclass
class World:
    """`status`, its database and its Broker."""

    db: Database
    broker: Broker
    http: httpx.AsyncClient

    async def letter(self, event_id: str, data: bytes = b"{}", *, source: str = "/torpor/download", **more: str) -> int:
        """The Broker gives up on an event; answers the letter's number."""
        attributes = {
            "type": "dev.torpor.file.requested.v1",
            "subject": "m-1",
            "knativeerrordest": DESTINATION,
            "knativeerrorcode": "500",
            **more,
        }
        headers = {f"ce-{name}": text for name, text in attributes.items() if name != "content_type"}
        named = {"ce-specversion": "1.0", "ce-id": event_id, "ce-source": source}
        kind = {"content-type": more.get("content_type", "application/json")}
        sent = delivered({**named, **headers, **kind})
        answer = await self.http.post("/deadletters", content=data, headers=sent)
        assert (answer.status_code, answer.content) == (204, b"")
        return int(await self.db.fetchval("SELECT id FROM dead_letters ORDER BY received_at DESC, id DESC LIMIT 1"))

    async def show(self, number: int) -> Any:
        """GET one."""
        return (await self.http.get(f"/deadletters/{number}")).json()

    async def list(self, **query: str) -> list[Any]:
        """Every page of a list, one letter a page."""
        found: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            page = (await self.http.get("/deadletters", params={**query, "limit": "1", "cursor": cursor})).json()
            found += page["dead_letters"]
            cursor = page["next_cursor"]
        return found

    async def redrive(self, number: int) -> Any:
        """POST one."""
        answer = await self.http.post(f"/deadletters/{number}/redrive")
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def redrive_all(self, **wanted: Any) -> Any:
        """POST a filter."""
        answer = await self.http.post("/deadletters/redrive", json=wanted)
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def tick(self, name: str) -> None:
        """One tick, of an outbox whose rows are due."""
        await self.db.execute("UPDATE outbox SET due_at = now()")
        headers = delivered(events.headers(name, "/ping", events.TICK, "", {}))
        assert (await self.http.post("/events", content=b"{}", headers=headers)).status_code == 204


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """`status` on a database of its own."""
    db, broker = Database(Secret(database_url)), Broker()
    deps = Deps(db, Bus(db, "/torpor/status", broker, KEYRING), Olga(), TRUST)
    transport = httpx.ASGITransport(app.build(routes(deps), ready={}))
    async with httpx.AsyncClient(transport=transport, base_url="http://status") as http:
        yield World(db, broker, http)
    await db.close()


# What a subscriber could not take: bytes that are no text, and every attribute that an event may have.
ODD = {
    "content_type": "application/octet-stream",
    "time": "2026-01-31T12:00:00Z",
    "dataschema": "https://example.org/schema",
    "actor": "ann",
    "modelname": "Qwen%202%2E5",
    "signature": "c2lnbmVk",
    "knativeerrordata": "Ym9vbQ==",
}
BYTES = bytes(range(256))


async def test_a_letter_keeps_the_event_as_it_came(world: World) -> None:
    """Attributes, content type and every byte; the reason apart from them."""
    letter = await world.show(await world.letter("1", BYTES, **ODD))
    assert await world.db.fetchval("SELECT data FROM dead_letters") == BYTES
    expected = {
        "source": "/torpor/download",
        "event_id": "1",
        "type": "dev.torpor.file.requested.v1",
        "subject": "m-1",
        "extensions": {
            "actor": "ann",
            "modelname": "Qwen 2.5",
            "signature": "c2lnbmVk",
            "time": "2026-01-31T12:00:00Z",
            "dataschema": "https://example.org/schema",
        },
        "content_type": "application/octet-stream",
        "error_dest": DESTINATION,
        "error_code": 500,
        "error_data": "boom",
        "data": None,
    }
    assert {name: letter[name] for name in expected} == expected


async def test_a_redriven_event_is_the_event(world: World) -> None:
    """Same id, source, attributes, signature, content type and bytes; nothing of why it failed."""
    await world.redrive(await world.letter("1", BYTES, **ODD))
    ((headers, data),) = world.broker.published
    assert data == BYTES
    assert headers == {
        "content-type": "application/octet-stream",
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "/torpor/download",
        "ce-type": "dev.torpor.file.requested.v1",
        "ce-subject": "m-1",
        "ce-actor": "ann",
        "ce-modelname": "Qwen%202.5",
        "ce-signature": "c2lnbmVk",
        "ce-time": "2026-01-31T12:00:00Z",
        "ce-dataschema": "https://example.org/schema",
    }


async def test_a_redrive_vouches_for_nothing(world: World) -> None:
    """An event that was refused for want of a signature leaves without one."""
    await world.redrive(await world.letter("1"))
    assert "ce-signature" not in world.broker.published[0][0]


async def test_an_event_without_a_subject_leaves_without_one(world: World) -> None:
    """An empty subject is none, and a broker refuses it."""
    headers = delivered({"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"})
    assert (await world.http.post("/deadletters", content=b"", headers=headers)).status_code == 204
    assert await world.redrive_all() == {"redriven": 1, "more": False}
    assert "ce-subject" not in world.broker.published[0][0]


async def test_lists_are_newest_first_and_leave_the_data_out(world: World) -> None:
    """A page of large events would be as large as all of them; one that comes back is the newest."""
    for event_id, code in (("1", "500"), ("2", "400"), ("1", "503")):
        await world.letter(event_id, knativeerrorcode=code)
    letters = await world.list()
    assert [(each["event_id"], each["error_code"], each["data"]) for each in letters] == [
        ("1", 503, None),
        ("2", 400, None),
    ]
    assert (await world.show(letters[0]["id"]))["data"] == "{}"


FILTERS: list[tuple[dict[str, str], list[str]]] = [
    ({"type": "t"}, ["2"]),
    ({"subject": "s"}, ["3"]),
    ({"destination": "http://serve/events"}, ["4"]),
    ({"code": "403"}, ["5"]),
    ({"since": "2026-01-02T00:00:00Z"}, ["5", "4", "3", "2"]),
    ({"until": "2026-01-02T01:00:00+01:00"}, ["1"]),
    ({"redriven": "true"}, ["5"]),
    ({"redriven": "false", "subject": "m-1"}, ["4", "2", "1"]),
    ({"type": "t", "subject": "s"}, []),
]


@pytest.fixture
async def five(world: World) -> World:
    """Five letters of five days, each different in one thing; the last was redriven."""
    await world.letter("1")
    await world.letter("2", type="t")
    await world.letter("3", subject="s")
    await world.letter("4", knativeerrordest="http://serve/events")
    await world.redrive(await world.letter("5", knativeerrorcode="403"))
    await world.db.execute(
        "UPDATE dead_letters SET received_at = timestamptz '2026-01-01Z' + (event_id::int - 1) * interval '1 day'"
    )
    world.broker.published.clear()
    return world


@pytest.mark.parametrize(("query", "found"), FILTERS)
async def test_letters_are_found_by_what_they_are(five: World, query: dict[str, str], found: list[str]) -> None:
    """Each filter alone, and two together."""
    assert [letter["event_id"] for letter in await five.list(**query)] == found


@pytest.mark.parametrize(("query", "found"), [case for case in FILTERS if case[1] and "redriven" not in case[0]])
async def test_a_redrive_takes_the_same_filter(five: World, query: dict[str, Any], found: list[str]) -> None:
    """All that match and wait; what is under way is left alone."""
    wanted = {**query, **({"code": int(query["code"])} if "code" in query else {})}
    expected = sorted(set(found) - {"5"})
    assert await five.redrive_all(**wanted) == {"redriven": len(expected), "more": False}
    assert sorted(five.broker.ids()) == expected


async def test_twice_in_a_row_is_once(world: World) -> None:
    """The second redrive finds the letter under way: 202, and nothing is sent."""
    number = await world.letter("1")
    first, second = await world.redrive(number), await world.redrive(number)
    assert first == second
    assert (first["redrives"], first["redriven_by"], first["redriven_at"] is not None) == (1, "olga", True)
    assert await world.redrive_all() == {"redriven": 0, "more": False}
    assert world.broker.ids() == ["1"]


async def test_twice_at_once_is_once(world: World) -> None:
    """Ten people press the button, and somebody redrives everything."""
    number = await world.letter("1")
    await asyncio.gather(*(world.redrive(number) for _ in range(10)), world.redrive_all())
    assert (world.broker.ids(), (await world.show(number))["redrives"]) == (["1"], 1)


async def test_a_broker_that_is_down_gets_it_later(world: World) -> None:
    """The letter and the outbox are one transaction; the tick sends what is there, once."""
    number = await world.letter("1")
    world.broker.down = True
    assert (await world.redrive(number))["redrives"] == 1
    await world.redrive(number)
    world.broker.down = False
    await world.tick("t1")
    await world.tick("t2")
    assert world.broker.ids() == ["1"]


async def test_a_letter_that_comes_back_is_the_same_letter(world: World) -> None:
    """Its reason is the newer one, who redrove it stays, and it can be redriven again."""
    number = await world.letter("1", knativeerrorcode="503")
    await world.redrive(number)
    assert await world.letter("1", knativeerrorcode="400") == number
    letter = await world.show(number)
    assert (letter["error_code"], letter["redriven_at"], letter["redriven_by"], letter["redrives"]) == (
        400,
        None,
        "olga",
        1,
    )
    assert (await world.redrive(number))["redrives"] == 2
    assert world.broker.ids() == ["1", "1"]


async def test_one_that_was_lost_on_the_way_can_be_sent_again(world: World) -> None:
    """By number, or by asking for redriven ones; a plain redrive of everything does not repeat what went well."""
    number = await world.letter("1")
    await world.redrive(number)
    await world.db.execute("UPDATE dead_letters SET redriven_at = now() - interval '61 minutes'")
    assert await world.redrive_all() == {"redriven": 0, "more": False}
    assert (await world.redrive(number))["redrives"] == 2
    await world.db.execute("UPDATE dead_letters SET redriven_at = now() - interval '61 minutes'")
    assert await world.redrive_all(redriven=True) == {"redriven": 1, "more": False}


async def test_a_call_is_bounded(world: World) -> None:
    """A thousand letters at most, the oldest first, and the caller is told that there are more."""
    await world.db.execute(
        "INSERT INTO dead_letters (source, event_id, type, data, received_at) "
        "SELECT '/s', n::text, 't', '\\x7b7d', now() + n * interval '1 second' FROM generate_series(1, $1::int) AS n",
        MAX_PER_CALL + 1,
    )
    assert await world.redrive_all() == {"redriven": MAX_PER_CALL, "more": True}
    assert await world.redrive_all() == {"redriven": 1, "more": False}
    assert world.broker.ids()[-1] == str(MAX_PER_CALL + 1)
    assert len(set(world.broker.ids())) == MAX_PER_CALL + 1


async def test_an_event_that_two_could_not_take_is_sent_once(world: World) -> None:
    """Both letters are redriven: the event goes to all of its subscribers anyway."""
    numbers = [await world.letter("1", knativeerrordest=each) for each in ("http://a/", "http://b/")]
    assert await world.redrive_all() == {"redriven": 2, "more": False}
    assert world.broker.ids() == ["1"]
    assert [(await world.show(number))["redrives"] for number in numbers] == [1, 1]


async def test_an_id_that_two_sources_use_waits_its_turn(world: World) -> None:
    """The outbox is keyed by id: the second event is not taken for the first, and not lost."""
    numbers = [await world.letter("1", source=source) for source in ("/a", "/b")]
    world.broker.down = True
    assert (await world.redrive_all())["redriven"] == 1
    assert (await world.redrive_all())["redriven"] == 0
    world.broker.down = False
    await world.tick("t1")
    assert (await world.redrive_all())["redriven"] == 1
    assert sorted(headers["ce-source"] for headers, _ in world.broker.published) == ["/a", "/b"]
    assert [(await world.show(number))["redrives"] for number in numbers] == [1, 1]


async def test_a_letter_in_another_transaction_blocks_nobody(world: World) -> None:
    """Somebody holds one letter's row: the others are redriven, and nobody waits for it."""
    held, _ = await world.letter("1"), await world.letter("2")
    async with world.db.transaction() as connection:
        await connection.fetchval("SELECT id FROM dead_letters WHERE id = $1 FOR UPDATE", held)
        assert await world.redrive_all() == {"redriven": 1, "more": False}
    assert world.broker.ids() == ["2"]


async def test_history_is_forgotten_after_a_month(world: World) -> None:
    """The tick keeps the log bounded."""
    for days in (29, 31):
        await world.db.execute(
            "INSERT INTO event_log (at, kind, record_kind, record_uuid, state, cause) "
            "VALUES (now() - $1::int * interval '1 day', 'late', 'model', $2, 'deleted', 'planned')",
            days,
            str(days),
        )
    await world.tick("t1")
    assert [row["record_uuid"] for row in await world.db.fetch("SELECT record_uuid FROM event_log")] == ["29"]
