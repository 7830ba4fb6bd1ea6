"""People decide about a rollout: promote, roll back, hold, go on; and the strategies that take no steps."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.serve.stage import Stage, stage


@pytest.fixture
async def play(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """A server that serves `smol`, on a cluster that allows revisions to begin without a replica."""
    async with stage(database_url, tmp_path, zero_initial_scale=True) as running:
        await running.serving()
        yield running


async def _at_a_step(play: Stage) -> None:
    await play.roll(rollout={"min_requests": 9})
    await play.until_models(m_1=95, m_2=5)


async def test_promoted_by_hand(play: Stage) -> None:
    """Whatever the gates would say; the answer says who did it."""
    await _at_a_step(play)
    answer = await play.world.http.post("/serve/smol/promote")
    assert (answer.status_code, answer.json()["status"], answer.json()["why"]) == (
        202,
        "promoted",
        "a-operator promotes it",
    )
    await play.until_models(m_2=100)


async def test_rolled_back_by_hand(play: Stage) -> None:
    """All traffic is where it was."""
    await _at_a_step(play)
    answer = await play.world.http.post("/serve/smol/rollback")
    assert (answer.status_code, answer.json()["status"]) == (202, "rolled_back")
    await play.until_models(m_1=100)
    await play.until(lambda: play.traffic() == {"smol-00003": 100}, "what served is the latest again")


async def test_promote_and_rollback_at_once(play: Stage) -> None:
    """One wins, the other gets 409; the traffic is the winner's."""
    await _at_a_step(play)
    answers = await asyncio.gather(
        *(play.world.http.post(f"/serve/smol/{word}") for word in ("promote", "rollback", "promote", "rollback"))
    )
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
    (won,) = [answer.json()["status"] for answer in answers if answer.status_code == 202]
    await play.until_models(**({"m_2": 100} if won == "promoted" else {"m_1": 100}))


async def test_held_and_let_go(play: Stage) -> None:
    """It keeps its part while it is held, whatever it answers well; a breach is acted on all the same."""
    await _at_a_step(play)
    assert (await play.world.http.post("/serve/smol/pause")).json()["status"] == "paused"
    await play.used("smol-00002", 50)
    await play.world.deliver()
    assert ((await play.rollout())["status"], play.models()) == ("paused", {"m-1": 95, "m-2": 5})
    assert (await play.world.http.post("/serve/smol/resume")).json()["status"] == "stepping"
    assert (await play.world.http.post("/serve/smol/pause")).json()["status"] == "paused"
    await play.used("smol-00002", 50, errors=50)
    await play.until_state("rolled_back")
    await play.until_models(m_1=100)


async def test_what_cannot_be_decided_now(play: Stage) -> None:
    """409 with the state and what would be needed; nothing on trial is a refusal too."""
    nothing = await play.world.http.post("/serve/smol/promote")
    assert (nothing.status_code, "PATCH /serve/smol begins one" in nothing.json()["detail"]) == (409, True)
    play.engines.fails["m-2"] = ("Unschedulable", "no room")
    await play.roll()
    await play.tell_news()
    early = await play.world.http.post("/serve/smol/promote")
    assert (early.status_code, "the rollout of smol is candidate" in early.json()["detail"]) == (409, True)
    assert (await play.world.http.post("/serve/other/promote")).status_code == 404


async def test_only_operators_decide(play: Stage) -> None:
    """A user may ask models, not move them."""
    await _at_a_step(play)
    answer = await play.world.http.post("/serve/smol/promote", headers={"authorization": "Bearer user"})
    assert answer.status_code == 403


async def test_replace_where_there_is_room_for_one(play: Stage) -> None:
    """The old one ends before the new one starts: at no time do both run."""
    await play.roll(rollout={"strategy": "replace", "expect": "Paris"})
    await play.until_state("promoted")
    await play.until_models(m_2=100)
    assert play.prompter.asked == ["smol-00002/v1/chat/completions"]
    assert play.engines.launched == ["smol-00001"]
    assert play.replicas("smol-00001") == 0


async def test_replace_goes_back(play: Stage) -> None:
    """It answers garbage: the traffic is the old model's again, which wakes with the next call."""
    play.engines.says["m-2"] = (200, b"{}")
    await play.roll(rollout={"strategy": "replace"})
    await play.until_state("failed")
    await play.until_models(m_1=100)
    await play.until(lambda: play.traffic() == {"smol-00003": 100}, "what served is the latest again")


async def test_replace_needs_the_cluster_to_allow_it(database_url: str, tmp_path: Path) -> None:
    """422 with the ConfigMap's key, before anything is done."""
    async with stage(database_url, tmp_path) as play:
        await play.serving()
        answer = await play.world.http.patch(
            "/serve/smol", json={"model": "better", "rollout": {"strategy": "replace"}}
        )
        assert (answer.status_code, "allow-zero-initial-scale" in answer.json()["detail"]) == (422, True)
        assert await play.rollout() is None


async def test_direct_leaves_it_to_knative(play: Stage) -> None:
    """No trial: as soon as the new revision is ready it has everything."""
    await play.roll(rollout={"strategy": "direct"})
    await play.until_models(m_2=100)
    assert (await play.rollout(), (await play.world.server("smol"))["model_uuid"]) == (None, "m-2")
