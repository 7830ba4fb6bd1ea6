"""Redriving dead letters over real PostgreSQL: the event as it came, once, and nobody waits for another."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from functions.status.redrive import MAX_PER_CALL
from tests.deliveries import delivered
from tests.integration.letters import BYTES, ODD, World, opened


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """`status` on a database of its own."""
    async with opened(database_url) as everything:
        yield everything


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


async def test_one_id_of_two_sources_is_two_events(world: World) -> None:
    """The second event is not taken for the first, and not lost, while the Broker is down."""
    for source in ("/a", "/b"):
        await world.letter("1", source=source)
    world.broker.down = True
    assert (await world.redrive_all())["redriven"] == 2
    world.broker.down = False
    await world.tick("t1")
    assert sorted(headers["ce-source"] for headers, _ in world.broker.published) == ["/a", "/b"]
    assert world.broker.ids() == ["1", "1"]


async def test_one_that_is_back_before_its_sender_is_done_leaves_again(world: World) -> None:
    """The Broker has answered for one event of a batch and not for another; meanwhile the first one failed again."""
    number = await world.letter("1")
    await world.letter("2")
    world.broker.slow = {"2"}
    first = asyncio.create_task(world.redrive_all())
    async with asyncio.timeout(30):
        while sorted(world.broker.ids()) != ["1", "2"]:  # noqa: ASYNC110  # the sender announces nothing
            await asyncio.sleep(0.01)
    await world.letter("1")
    assert (await world.redrive(number))["redrives"] == 2
    world.broker.go_on.set()
    await first
    await world.tick("t1")
    assert sorted(world.broker.ids()) == ["1", "1", "2"]
