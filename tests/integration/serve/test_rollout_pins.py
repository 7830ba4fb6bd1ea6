"""Which revision a rollout goes back to, and that traffic is pinned to it no longer than it has to be."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.serve.stage import Stage, stage

LATEST = [{"latestRevision": True, "percent": 100}]


@pytest.fixture
async def play(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """A server that serves `smol`."""
    async with stage(database_url, tmp_path) as running:
        await running.serving()
        yield running


async def _until_free(play: Stage, model: str) -> None:
    """Nothing is pinned any more, and the latest revision, which has everything, serves this model."""

    async def free() -> bool:
        await play.world.tick()
        row = await play.world.server("smol")
        return (row["pinned_revision"], play.service()["spec"]["traffic"]) == (None, LATEST)

    await play.until(free, "nothing is pinned")
    await play.until(lambda: play.models() == {model: 100}, f"{model} serves")


async def _promoted(play: Stage) -> None:
    await play.roll()
    await play.until_state("promoted")
    await play.until_models(m_2=100)


async def test_a_trial_that_was_never_applied_after_a_promotion(play: Stage) -> None:
    """The template is still that of the promoted one, whose label it keeps: it serves, and nothing has to be made."""
    await _promoted(play)
    await play.tell_news()
    play.world.cluster.faults = [(422, "the webhook says no")]
    await play.roll(model="other")
    await play.until_state("failed")
    await _until_free(play, "m-2")
    assert play.service()["status"]["latestCreatedRevisionName"] == "smol-00002"


async def test_a_trial_that_differs_in_its_spelling_alone(play: Stage) -> None:
    """600 s are the default: taken back, the template says the same, and has to become another revision all the same."""
    await play.roll(model="smol", timeout_s=600, rollout={"min_requests": 9})
    await play.until_state("stepping")
    assert (await play.world.http.post("/serve/smol/rollback")).status_code == 202
    await _until_free(play, "m-1")
    assert list(play.traffic()) == ["smol-00003"]


async def test_a_trial_that_was_replaced_by_one_that_was_refused(play: Stage) -> None:
    """What was replaced serves nobody, not even while what served is made again."""
    await play.roll(rollout={"min_requests": 9})
    await play.until_models(m_1=95, m_2=5)
    play.engines.fails["m-1"] = ("Unschedulable", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    play.world.cluster.faults = [(422, "the webhook says no")]
    await play.roll(model="other")
    await play.until_state("failed")
    await play.until_models(m_1=100)
    await play.world.tick()
    await play.tell_news()
    assert play.models() == {"m-1": 100}
    del play.engines.fails["m-1"]
    await _until_free(play, "m-1")


async def test_what_was_promoted_by_hand_is_what_the_next_one_is_measured_against(play: Stage) -> None:
    """Also while the cluster still says what served before."""
    await play.roll(rollout={"min_requests": 9})
    await play.until_models(m_1=95, m_2=5)
    assert (await play.world.http.post("/serve/smol/promote")).status_code == 202
    await play.roll(model="other", rollout={"min_requests": 9})
    row = await play.rollout()
    assert (row["model_uuid"], row["stable_revision"]) == ("m-3", "smol-00002")
    await play.until_models(m_2=95, m_3=5)


@pytest.mark.parametrize("followed", [False, True], ids=["told after", "told before"])
async def test_a_trial_that_is_taken_back_while_the_cluster_is_told_of_it(play: Stage, followed: bool) -> None:  # noqa: FBT001  # pytest's
    """What was seen of the Service is from before the trial: no reason to give everything to the latest revision."""
    await play.tell_news()
    play.engines.fails["m-1"] = ("Unschedulable", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")

    async def taken_back() -> None:
        assert (await play.world.http.post("/serve/smol/rollback")).status_code == 202
        if followed:
            await play.world.deliver()

    play.world.cluster.before = taken_back
    await play.roll(rollout={"min_requests": 9})
    await play.until(lambda: play.service()["status"]["latestCreatedRevisionName"] == "smol-00003", "it is made again")
    assert (await play.rollout())["status"] == "rolled_back"
    for _ in range(3):
        await play.world.tick()
        await play.tell_news()
    assert play.models() == {"m-1": 100}
    assert (await play.world.server("smol"))["pinned_revision"] == "smol-00001"
    del play.engines.fails["m-1"]
    await _until_free(play, "m-1")
