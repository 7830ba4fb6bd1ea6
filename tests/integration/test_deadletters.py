"""Dead letters over real PostgreSQL: kept as they came and found again by what they are."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from functions.kit.events import TICK
from tests.deliveries import delivered
from tests.integration.letters import BYTES, DESTINATION, ODD, World, opened


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """`status` on a database of its own."""
    async with opened(database_url) as everything:
        yield everything


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


async def test_a_tick_is_no_letter(world: World) -> None:
    """The next minute brings another one; a list full of them hides what matters."""
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "tick-1",
        "ce-source": "/apis/v1/namespaces/torpor/pingsources/tick",
        "ce-type": TICK,
        "ce-knativeerrorcode": "503",
    }
    answer = await world.http.post("/deadletters", content=b"{}", headers=delivered(headers))
    assert (204, []) == (answer.status_code, await world.list())


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
