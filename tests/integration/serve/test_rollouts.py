"""A server goes over to another model: step by step while it is good, back by itself when it is not."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from functions.kit.events import ModelAvailable
from kn_model.local.objects.kinds import REVISION, SERVICE
from tests.integration.serve.stage import Stage, stage
from tests.integration.serve.world import NAMESPACE, add_model


@pytest.fixture
async def play(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """`serve` and the controller, with nothing on them."""
    async with stage(database_url, tmp_path) as running:
        yield running


async def test_a_good_candidate_is_promoted(play: Stage) -> None:
    """Through the steps, after its prompt; then it is the latest, has all traffic and no tag, and the record names it."""
    await play.serving()
    await play.roll(rollout={"steps": [10, 100], "expect": "paris"})
    row = await play.until_state("promoted")
    await play.until_models(m_2=100)
    assert play.prompter.asked == ["smol-00002/v1/chat/completions"]
    record = await play.world.server("smol")
    assert (record["model_uuid"], record["model_name"], row["percent"]) == ("m-2", "better", 100)
    assert play.service()["spec"]["traffic"] == [{"latestRevision": True, "percent": 100}]


async def test_each_step_waits_for_requests(play: Stage) -> None:
    """The candidate gets its part and no more until it has answered enough; the figures are kept."""
    await play.serving()
    await play.roll(rollout={"steps": [10, 50], "min_requests": 5})
    await play.until_models(m_1=90, m_2=10)
    row = await play.rollout()
    assert (row["status"], row["percent"]) == ("stepping", 10)
    await play.used("smol-00002", 5)
    await play.until_models(m_1=50, m_2=50)
    await play.until_state("stepping")
    await play.look()
    row = await play.rollout()
    assert (row["step"], row["why"]) == (1, "the step waits for 5 more of 5 requests to the candidate")
    assert row["measures"]["candidate"]["requests"] == 5
    await play.used("smol-00002", 5)
    await play.until_models(m_2=100)


@pytest.mark.parametrize(
    ("errors", "first_token_ms", "said"),
    [pytest.param(2, 50, "2 of 40 requests failed (5.0%)", id="fails 5 %"), pytest.param(0, 900, "900 ms", id="slow")],
)
async def test_a_bad_candidate_is_rolled_back(play: Stage, errors: int, first_token_ms: int, said: str) -> None:
    """All traffic is where it was, with the numbers as the reason; then what served is the latest revision again."""
    await play.serving()
    await play.roll(rollout={"steps": [50], "min_requests": 30})
    await play.until_models(m_1=50, m_2=50)
    await play.used("smol-00001", 40)
    await play.used("smol-00002", 40, errors=errors, first_token_ms=first_token_ms)
    row = await play.until_state("rolled_back")
    assert (said in row["error"], row["percent"]) == (True, 0)
    await play.until(lambda: play.traffic() == {"smol-00003": 100}, "what served is the latest again")
    assert (play.model_of("smol-00003"), (await play.world.server("smol"))["model_uuid"]) == ("m-1", "m-1")
    assert play.service()["spec"]["traffic"] == [{"latestRevision": True, "percent": 100}]


async def test_a_rollback_needs_no_room(play: Stage) -> None:
    """Traffic goes back to the revision that served, at once; it stays there until its remade template is ready."""
    await play.serving()
    await play.roll(rollout={"steps": [50], "min_requests": 9})
    await play.until_models(m_1=50, m_2=50)
    play.engines.fails["m-1"] = ("Unschedulable", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    await play.used("smol-00002", 9, errors=9)
    await play.until(lambda: play.traffic() == {"smol-00001": 100}, "what served serves")
    await play.until(lambda: play.service()["status"]["latestCreatedRevisionName"] == "smol-00003", "it is remade")
    await play.world.tick()
    await play.tell_news()
    assert play.traffic() == {"smol-00001": 100}
    await play.until_ready()
    del play.engines.fails["m-1"]
    await play.until(lambda: play.traffic() == {"smol-00003": 100}, "what served is the latest again")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((200, b'{"choices": [{"message": {"content": "!!!!!!!!!!!!!!"}}]}'), id="garbage"),
        pytest.param((200, b'{"choices": [{"message": {"content": "I am a fish."}}]}'), id="something else"),
        pytest.param((500, b"CUDA error"), id="an error"),
        pytest.param((200, b"<html>"), id="no answer at all"),
    ],
)
async def test_a_candidate_that_answers_garbage_gets_no_traffic(play: Stage, answer: tuple[int, bytes]) -> None:
    """Its prompt is asked at its own address; what served never loses a call."""
    await play.serving()
    play.engines.says["m-2"] = answer
    await play.roll(rollout={"expect": "Paris"})
    await play.until_state("failed")
    await play.until(lambda: play.traffic() == {"smol-00003": 100}, "what served is the latest again")
    assert play.model_of("smol-00003") == "m-1"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        pytest.param("ExitCode1", "Container failed with: no such file", id="crash loop"),
        pytest.param("OOMKilled", "it was killed", id="out of memory"),
        pytest.param("ContainerMissing", "manifest unknown", id="image missing"),
        pytest.param("ProgressDeadlineExceeded", "not ready after 60 s", id="never ready"),
    ],
)
async def test_a_candidate_that_cannot_start_keeps_the_traffic(play: Stage, reason: str, words: str) -> None:
    """Where it was, all the time; the reason is shown, and the server stays ready."""
    await play.serving()
    play.engines.fails["m-2"] = (reason, words)
    await play.roll()
    row = await play.until_state("failed")
    assert words in row["error"]
    await play.until(lambda: play.traffic() == {"smol-00003": 100}, "what served is the latest again")
    await play.until_ready()


async def test_a_candidate_that_finds_no_room_waits(play: Stage) -> None:
    """A node may come: the reason is shown, the traffic stays, and it goes on when there is room."""
    await play.serving()
    play.engines.fails["m-2"] = ("Unschedulable", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    await play.roll()

    async def shown() -> bool:
        return "Insufficient nvidia.com/gpu" in (await play.rollout())["why"]

    await play.until(shown, "the reason is shown")
    assert ((await play.rollout())["status"], play.models()) == ("candidate", {"m-1": 100})
    del play.engines.fails["m-2"]
    await play.until_models(m_2=100)


async def test_a_candidate_that_crashes_under_traffic_is_rolled_back(play: Stage) -> None:
    """Whatever happens to one that has traffic, the traffic goes back."""
    await play.serving()
    await play.roll(rollout={"min_requests": 9})
    await play.until_models(m_1=95, m_2=5)
    play.engines.fails["m-2"] = ("ExitCode137", "Container failed with: exit code 137")
    revision = play.world.cluster.store.get(REVISION, NAMESPACE, "smol-00002")
    conditions = [{"type": "Ready", "status": "True"}]
    conditions += [{"type": "Active", "status": "False", "reason": "ExitCode137", "message": "exit code 137"}]
    await play.serving_stops()
    told = await play.world.cluster.store.set_status(
        REVISION, NAMESPACE, "smol-00002", {**revision["status"], "conditions": conditions}
    )
    await play.world.tell(told)
    await play.world.deliver()
    row = await play.rollout()
    assert (row["status"], "ExitCode137" in row["error"]) == ("rolled_back", True)


async def test_a_model_that_is_deleted_in_mid_rollout(play: Stage) -> None:
    """There is nothing to go over to any more: back."""
    await play.serving()
    await play.roll(rollout={"min_requests": 9})
    await play.until_models(m_1=95, m_2=5)
    await play.world.db.execute("UPDATE model_records SET status = 'deleted' WHERE uuid = 'm-2'")
    await play.world.tick()
    row = await play.until_state("rolled_back")
    assert "no model is named" in row["error"]
    await play.until_models(m_1=100)


async def test_a_server_that_is_deleted_in_mid_rollout(play: Stage) -> None:
    """Both are gone."""
    await play.serving()
    await play.roll(rollout={"min_requests": 9})
    await play.until_models(m_1=95, m_2=5)
    assert (await play.world.http.delete("/serve/smol")).status_code == 202
    await play.world.deliver()
    assert (await play.rollout())["status"] == "superseded"
    assert play.world.cluster.names(SERVICE) == []


async def test_the_old_revision_is_kept_from_being_collected(play: Stage) -> None:
    """While the rollout lasts, and no longer."""
    await play.serving()
    await play.roll(rollout={"min_requests": 9})
    await play.until_models(m_1=95, m_2=5)
    assert play.pinned() == ["smol-00001"]
    await play.world.http.post("/serve/smol/promote")
    await play.until_models(m_2=100)
    assert play.pinned() == []


async def test_the_old_revision_is_collected_all_the_same(play: Stage) -> None:
    """What served is made again from its record; at no time does traffic lead to a revision that is gone."""
    await play.serving()
    await play.roll(rollout={"min_requests": 9})
    await play.until_models(m_1=95, m_2=5)
    await play.world.cluster.store.delete(REVISION, NAMESPACE, "smol-00001")
    await play.world.tick()
    row = await play.until_state("rolled_back")
    assert "smol-00001 is gone" in row["error"]
    await play.until_models(m_1=100)
    assert play.model_of("smol-00003") == "m-1"


async def test_something_newer_is_wanted(play: Stage) -> None:
    """The first candidate ends, the second one begins at 0 %; what serves is what served."""
    await play.serving()
    await play.roll(rollout={"min_requests": 9})
    await play.until_models(m_1=95, m_2=5)
    await play.roll(model="other")
    await play.until_models(m_3=100)
    states = await play.world.db.fetch("SELECT status, stable_revision FROM rollouts ORDER BY created_at")
    assert [tuple(row) for row in states] == [("superseded", "smol-00001"), ("promoted", "smol-00001")]


async def test_the_same_again_is_the_same_rollout(play: Stage) -> None:
    """And what serves is no rollout at all: asked for while something is on trial, it ends the trial."""
    await play.serving()
    await play.roll(rollout={"min_requests": 9})
    await play.roll(rollout={"min_requests": 9})
    assert await play.world.db.fetchval("SELECT count(*) FROM rollouts") == 1
    await play.until_models(m_1=95, m_2=5)
    await play.roll(model="smol")
    await play.until_models(m_1=100)
    assert (await play.rollout())["status"] == "superseded"


async def test_scale_alone_is_no_rollout(play: Stage) -> None:
    """It is changed at once; while something is on trial it is refused, with what to do."""
    await play.serving()
    answer = await play.world.http.patch("/serve/smol", json={"scale": {"max": 2}})
    assert (answer.status_code, await play.rollout()) == (202, None)
    await play.until(lambda: "smol-00002" in play.traffic(), "the scale is changed")
    await play.roll(rollout={"min_requests": 9})
    refused = await play.world.http.patch("/serve/smol", json={"scale": {"max": 3}})
    assert (refused.status_code, "promote or /rollback first" in refused.json()["detail"]) == (409, True)


async def test_parameters_go_through_a_rollout(play: Stage) -> None:
    """They decide what runs as much as the model does."""
    await play.serving()
    answer = await play.world.http.patch("/serve/smol", json={"params": {"max_model_len": 1024}})
    assert answer.status_code == 202
    row = await play.until_state("stepping")
    assert (row["model_uuid"], row["request"]["params"]) == ("m-1", {"max_model_len": 1024})


async def test_the_first_revision_takes_everything(play: Stage) -> None:
    """There is nothing to compare it with."""
    answer = await play.world.http.post("/serve", json={"model": "smol", "rollout": {"steps": [5]}})
    assert answer.status_code == 202
    await play.until(lambda: play.traffic() == {"smol-00001": 100}, "it serves")
    assert await play.rollout() is None


async def test_a_request_for_a_taken_name(play: Stage) -> None:
    """Without `rollout` it is refused and told of it; with it the server goes over. Serve-on-available does the same."""
    await play.serving()
    refused = await play.world.http.post("/serve", json={"model": "better", "name": "smol"})
    assert (refused.status_code, "PATCH /serve/smol" in refused.json()["detail"]) == (409, True)
    rollout = {"hold_s": 0, "min_requests": 0}
    taken = await play.world.http.post("/serve", json={"model": "better", "name": "smol", "rollout": rollout})
    assert taken.status_code == 202
    await play.until_models(m_2=100)
    wish = {"name": "smol", "rollout": rollout}
    await add_model(play.world.db, "m-4", "newest", serve=wish)
    assert (await play.world.event(ModelAvailable.TYPE, {"model_uuid": "m-4", "model_name": "newest"})).is_success
    await play.until_models(m_4=100)


@pytest.mark.parametrize("steps", [[50, 20], [0], [101], []])
async def test_steps_that_make_no_sense_are_refused(play: Stage, steps: list[int]) -> None:
    """400 naming the field."""
    answer = await play.world.http.patch("/serve/smol", json={"model": "better", "rollout": {"steps": steps}})
    assert answer.status_code == 400
