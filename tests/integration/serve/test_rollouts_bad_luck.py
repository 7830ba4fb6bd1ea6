"""A rollout when the process, the Kubernetes API or PostgreSQL get in the way: traffic stays whole, the next tick converges."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from kn_model.local.objects.kinds import REVISION
from tests.integration.serve.stage import PATIENCE_S, Stage, stage
from tests.integration.serve.world import Killed

# Calls of the Kubernetes API. A kill after them kills nobody, which shows that those are all; so a few later, since a
# busy machine may take one more look.
UP, BACK, LATER = 26, 20, 4


@pytest.fixture
async def play(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """A server that serves `smol`."""
    async with stage(database_url, tmp_path) as running:
        await running.serving()
        yield running


async def _outlived(play: Stage, work: Awaitable[None]) -> None:
    """Something that may kill the process: another one starts, and gets a tick."""
    try:
        await work
    except Killed:
        await play.world.tick()


async def _until(play: Stage, holds: Callable[[], Awaitable[bool]]) -> None:
    """Deliver, whoever is killed by it."""
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():
            await _outlived(play, play.tell_news())


@pytest.mark.parametrize("calls", [*range(UP), UP + LATER])
async def test_killed_after_any_call_on_the_way_up(play: Stage, calls: int) -> None:
    """One candidate, and it ends with everything."""

    async def is_promoted() -> bool:
        return bool((await play.rollout())["status"] == "promoted")

    await play.roll(rollout={"steps": [50]})
    play.world.api.calls_left = calls
    await _until(play, is_promoted)
    assert play.world.api.killed == (calls < UP)
    await play.until_models(m_2=100)
    assert play.world.cluster.names(REVISION) == ["smol-00001", "smol-00002"]
    await play.until_ready()


@pytest.mark.parametrize("calls", [*range(BACK), BACK + LATER])
async def test_killed_after_any_call_on_the_way_back(play: Stage, calls: int) -> None:
    """What served has everything, and is the latest again."""
    await play.roll(rollout={"steps": [50], "min_requests": 9})
    await play.until_models(m_1=50, m_2=50)

    async def is_back() -> bool:
        return (await play.rollout())["status"] == "rolled_back" and play.traffic() == {"smol-00003": 100}

    play.world.api.calls_left = calls
    await _outlived(play, play.used("smol-00002", 9, errors=9))
    await _until(play, is_back)
    assert play.world.api.killed == (calls < BACK)
    assert play.world.cluster.names(REVISION) == ["smol-00001", "smol-00002", "smol-00003"]


@pytest.mark.parametrize("status", [409, 429, 500, 503])
async def test_the_api_refuses_for_now(play: Stage, status: int) -> None:
    """The event comes again, or the tick; then it goes on."""
    await play.roll(rollout={"steps": [50]})
    play.world.cluster.faults = [(status, "not now")] * 6
    await play.world.deliver()
    assert (play.models(), len(play.world.cluster.faults) < 6) == ({"m-1": 100}, True)
    play.world.cluster.faults = []
    await play.world.tick()
    await play.until_models(m_2=100)


@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_the_answer_is_lost_after_success(play: Stage, lost: int) -> None:
    """504 although it was done: done again, it is no second revision."""
    await play.roll(rollout={"steps": [50]})
    play.world.cluster.lost = lost
    for _ in range(lost):
        await play.world.deliver()
        await play.world.tick()
    await play.until_models(m_2=100)
    assert play.world.cluster.lost == 0
    assert play.world.cluster.names(REVISION) == ["smol-00001", "smol-00002"]


async def test_the_api_refuses_the_candidate(play: Stage) -> None:
    """422, a quota for instance: the rollout has failed in the API's words; what serves is not touched."""
    await play.roll()
    play.world.cluster.faults = [(422, "exceeded quota: requests.nvidia.com/gpu")]
    await play.world.deliver()
    row = await play.until_state("failed")
    assert "exceeded quota" in row["error"]
    await play.until_ready()
    assert play.models() == {"m-1": 100}


async def test_postgresql_is_away_during_a_step(play: Stage, database_url: str) -> None:
    """Events are answered 503 and the traffic stays; when it is back, the next tick goes on."""
    await play.roll(rollout={"steps": [50], "min_requests": 9})
    await play.until_models(m_1=50, m_2=50)
    await play.used("smol-00002", 9)
    server, _, name = database_url.rpartition("/")
    await _execute(f"{server}/postgres", f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    await _execute(
        f"{server}/postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
    )
    assert await play.world.tick() == 503
    assert play.models() == {"m-1": 50, "m-2": 50}
    await _execute(f"{server}/postgres", f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    assert await play.world.tick() == 204
    await play.until_models(m_2=100)


async def _execute(url: str, statement: str, *arguments: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement, *arguments)
    finally:
        await connection.close()
