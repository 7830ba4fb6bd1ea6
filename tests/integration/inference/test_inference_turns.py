"""Whose turn it is: servers share the places, a back-off lasts, and what is forgotten is nobody's any more."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from functions.kit.identity import Identity
from functions.serve.inference.queue import SQL
from tests.deliveries import delivered
from tests.integration.inference.stage import Stage, stage

BUSY = (503, {"title": "Not starting", "detail": "no replica is ready"})


@pytest.fixture
async def shared(database_url: str, s3_endpoint: dict[str, str], tmp_path: Path) -> AsyncIterator[Stage]:
    """Two servers, smol and other, each with room for two calls, and room for two in all."""
    async with stage(database_url, s3_endpoint, tmp_path, inference_per_server=2, inference_at_once=2) as running:
        await running.serve.running(name="other")
        running.serve.broker.held.clear()
        yield running


async def test_one_servers_backlog_does_not_take_every_place(shared: Stage) -> None:
    """The place that becomes free is that of the server which has none, however old the others' requests are."""
    _, second, third = [await shared.asked() for _ in range(3)]
    fourth = await shared.asked(server="other")
    told = shared.requests()
    assert len(told) == 2

    assert await shared.post(told[0]) == 204
    (next_told,) = shared.requests()
    assert next_told[0]["ce-subject"] == fourth

    assert [await shared.post(told[1]), await shared.post(next_told), *await shared.deliver()] == [204, 204, 204]
    assert [await shared.state(uuid) for uuid in (second, third, fourth)] == ["completed"] * 3


async def test_places_that_are_free_at_once_are_shared(shared: Stage) -> None:
    """Each server gets one before one gets two."""
    backlog = [await shared.asked() for _ in range(3)]
    other = await shared.asked(server="other")
    shared.requests()
    await shared.db.execute("UPDATE inference_requests SET told_at = NULL")

    await shared.serve.tick()

    assert sorted(headers["ce-subject"] for headers, _ in shared.requests()) == sorted([backlog[0], other])


async def test_an_event_that_comes_too_early_asks_nothing(inference: Stage) -> None:
    """However many events there are, the attempts are spread as the back-off says; the tick brings the next one."""
    inference.model.script = [BUSY]
    uuid = await inference.asked()
    (event,) = inference.requests()
    headers, data = event
    assert await inference.post(event) == 503

    await inference.db.execute("UPDATE inference_requests SET due_at = now() + interval '1 minute'")
    early = [await inference.serve.http.post("/events", content=data, headers=delivered(headers)) for _ in range(3)]
    assert [answer.status_code for answer in early] == [204] * 3
    waiting = await inference.read(uuid)
    await inference.db.execute("UPDATE inference_requests SET due_at = now() - interval '1 second'")
    await inference.serve.tick()
    await inference.deliver()

    assert (waiting["status"], waiting["attempts"], len(inference.model.asked)) == ("queued", 1, 2)
    assert await inference.state(uuid) == "completed"


async def test_a_time_from_before_the_clock_was_set_back_is_no_back_off(inference: Stage) -> None:
    """It would be waited for as long as the clock was set back."""
    uuid = await inference.asked()
    ((headers, data),) = inference.requests()
    await inference.db.execute("UPDATE inference_requests SET due_at = now() + interval '1 hour'")

    await inference.serve.http.post("/events", content=data, headers=delivered(headers))

    assert await inference.state(uuid) == "completed"


async def test_who_comes_back_for_it_keeps_it(inference: Stage) -> None:
    """A request that somebody is changing is not forgotten at that moment: neither its row nor its objects."""
    uuid = await inference.asked()
    await inference.deliver()
    await inference.db.execute("UPDATE inference_requests SET finished_at = now() - interval '8 days'")

    async with asyncio.timeout(30), inference.db.transaction() as connection:
        await connection.fetchrow(SQL.lock_request, uuid)
        await inference.serve.tick()
        await connection.execute("UPDATE inference_requests SET finished_at = now()")
    await inference.serve.tick()

    kept = {info.key for info in await inference.objects.keys("inference/") if uuid in info.key}
    assert kept == {f"inference/{uuid}/request.json", f"inference/{uuid}/result.json"}
    assert await inference.state(uuid) == "completed"


async def test_a_credential_that_may_only_read_cancels_nothing(inference: Stage) -> None:
    """A key can be scoped to actions; its owner's requests are not its own to end."""
    uuid = await inference.asked()

    async def reader(authorization: str | None) -> Identity:
        del authorization
        return Identity("a-operator", "operator", ("*",), ("read",), 0.0)

    inference.serve.roles.identify = reader  # type: ignore[method-assign]  # a credential that the roles do not have
    assert (await inference.serve.http.delete(f"/inference/{uuid}")).status_code == 403
    assert await inference.state(uuid) == "queued"
