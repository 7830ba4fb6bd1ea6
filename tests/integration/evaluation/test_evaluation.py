"""Candidates for one alias are asked the same prompts, one after the other, and the best is served under that name."""

import asyncio
from typing import Any

import pytest

from functions.kit.events import EvaluationRequested, ModelSelected
from tests.integration.evaluation.stage import CAPITAL, SUM, Contest
from tests.integration.serve.world import Killed, add_model

# Calls of the Kubernetes API that there are from the question to the answer. How often servers that are done with are
# looked at depends on who is faster, but never comes near the other number.
CALLS, NEVER = 18, 60


async def test_the_one_that_answers_right_is_served_under_the_alias(running: Contest) -> None:
    """Scores and reasons are shown, the pointer names it, nothing temporary is left, and it was told."""
    uuid = await running.asked(prompts=[CAPITAL, SUM])
    running.models.says["m-2"] = "2"
    ended = await running.until(uuid, "selected", "failed")
    assert (ended["status"], ended["winner"], ended["winner_score"]) == ("selected", "right", 0.75)
    wrong, right = ended["candidates"]
    assert [(each["status"], each["score"]) for each in (wrong, right)] == [("scored", 0.0), ("scored", 0.75)]
    assert [(each["passed"], each["reason"]) for each in right["results"]] == [
        (False, "does not contain 'Paris'"),
        (True, ""),
    ]
    assert wrong["results"][0]["answer"] == "London"
    pointer = await running.pointer()
    assert pointer is not None
    assert (pointer["evaluation"], pointer["model_uuid"]) == (uuid, "m-2")
    row = await running.stage.world.server("best")
    assert (row["model_uuid"], await running.temporary()) == ("m-2", [])
    assert running.models.asked == [
        (model, path, "a-operator") for model in ("m-3", "m-2") for path in ("/v1/chat/completions", "/v1/completions")
    ]
    await running.stage.until(lambda: running.services() == ["best"], "only the alias is left")


async def test_a_server_that_is_there_goes_over(running: Contest) -> None:
    """By a rollout, as somebody's PATCH would; without options of its own it stays as it was served."""
    world = running.stage.world
    await world.http.post("/serve", json={"model": "wrong", "name": "best", "memory_mb": 4096})

    async def ready() -> bool:
        return (await world.status("best"))[0] == "ready"

    await running.stage.until(ready, "the alias serves")
    uuid = await running.asked(rollout={"hold_s": 0, "min_requests": 0})
    await running.until(uuid, "selected", "failed")
    rollout = await running.stage.rollout("best")
    assert (rollout["model_uuid"], rollout["previous_model_uuid"]) == ("m-2", "m-3")
    assert rollout["request"]["memory_mb"] == 4096


async def test_the_same_again_is_the_same_evaluation(running: Contest) -> None:
    """Also at the same time and with another deadline; other prompts are another one."""
    first, at_once, other = await asyncio.gather(
        running.asked(), running.asked(deadline_s=5), running.asked(prompts=[SUM])
    )
    assert (first == at_once, first == await running.asked(deadline_s=6), first == other) == (True, True, False)
    assert await running.stage.world.db.fetchval("SELECT count(*) FROM evaluation_candidates") == 4


async def test_candidates_that_are_on_their_way_are_waited_for(running: Contest) -> None:
    """Nobody is asked before the last one is there; it need not even have been asked for."""
    uuid = await running.asked(candidates=["wrong", "late"])
    await running.stage.tell_news()
    waiting = await running.read(uuid)
    assert (waiting["status"], waiting["why"], running.models.asked) == ("waiting", "waits for late", [])
    await add_model(running.stage.world.db, "m-9", "late")
    event = {"model_uuid": "m-9", "model_name": "late"}
    assert (await running.stage.world.event("dev.torpor.model.available.v1", event)).status_code == 204
    ended = await running.until(uuid, "selected", "failed")
    assert (ended["status"], ended["winner"]) == ("selected", "late")


async def test_at_the_deadline_those_that_are_there_compete(running: Contest) -> None:
    """The tick sees to it; the one that is missing says so."""
    uuid = await running.asked(candidates=["right", "never"], deadline_s=0)
    assert await running.stage.world.tick() == 204
    ended = await running.until(uuid, "selected", "failed")
    shown = [(each["candidate"], each["status"], each["why"]) for each in ended["candidates"]]
    assert (ended["winner"], shown) == (
        "right",
        [
            ("right", "scored", ""),
            ("never", "dropped", "no model of this name was there by the deadline"),
        ],
    )


async def test_nobody_there_at_the_deadline_is_a_failure(running: Contest) -> None:
    """It can be asked for again then, as another evaluation."""
    uuid = await running.asked(candidates=["never"], deadline_s=0)
    ended = await running.until(uuid, "failed")
    assert (ended["why"], ended["candidates"][0]["status"]) == (
        "none of the candidates can be served; each says why",
        "dropped",
    )
    assert await running.asked(candidates=["never"], deadline_s=0) != uuid


async def test_a_candidate_that_does_not_start_has_no_score(running: Contest) -> None:
    """It says why, its server goes, and the others go on."""
    running.stage.engines.fails["m-2"] = ("OOMKilled", "it needed more memory")
    uuid = await running.asked(min_score=0.01, prompts=[CAPITAL, {**CAPITAL, "expect": {"regex": "^Lon"}}])
    ended = await running.until(uuid, "selected", "failed")
    wrong, right = ended["candidates"]
    assert (ended["winner"], wrong["score"], right["score"], right["status"]) == ("wrong", 0.5, None, "dropped")
    assert "it needed more memory" in right["why"]
    assert await running.temporary() == []


async def test_nobody_good_enough_changes_nothing(running: Contest) -> None:
    """No pointer, no server; the scores are there to be looked at. An error of the engine is an answer that failed."""
    running.models.says["m-2"] = 500
    uuid = await running.asked(min_score=0.6)
    ended = await running.until(uuid, "failed")
    assert ended["why"] == "no candidate reached a score of 0.6"
    assert [each["score"] for each in ended["candidates"]] == [0.0, 0.0]
    assert ended["candidates"][1]["results"][0]["reason"] == "answered with status 500 and no text"
    assert (await running.pointer(), await running.temporary()) == (None, [])
    await running.stage.until(lambda: running.services() == [], "nothing is left")


async def test_a_model_that_does_not_answer_yet_is_asked_again(running: Contest) -> None:
    """By the tick, when nobody got on with it for a while; what was answered before is not asked twice."""
    running.models.says["m-2"] = None
    uuid = await running.asked(candidates=["right"], prompts=[CAPITAL, SUM])

    async def tried() -> bool:
        return "does not answer yet" in (await running.read(uuid))["why"]

    await running.stage.until(tried, "it was asked in vain")
    running.models.says["m-2"] = "Paris"
    await running.stage.world.db.execute("UPDATE evaluations SET updated_at = now() - interval '2 minutes'")
    await running.stage.world.tick()
    ended = await running.until(uuid, "selected", "failed")
    assert (ended["why"], ended["candidates"][0]["score"]) == ("no candidate reached a score of 0.5", 0.25)


async def test_cancelling_takes_down_what_is_served(running: Contest) -> None:
    """And keeps the record; deleted once more, it is gone with its prompts."""
    running.models.says["m-3"] = None
    uuid = await running.asked()

    async def tried() -> bool:
        return bool(running.models.asked)

    await running.stage.until(tried, "a candidate is served")
    http = running.stage.world.http
    assert (await http.delete(f"/evaluations/{uuid}")).json()["status"] == "cancelled"
    await running.stage.until(lambda: running.services() == [], "nothing is left")
    shown = await running.read(uuid)
    assert {each["why"] for each in shown["candidates"]} == {"cancelled by a-operator"}
    assert (await http.delete(f"/evaluations/{uuid}")).status_code == 204
    assert (await http.delete(f"/evaluations/{uuid}")).status_code == 404
    assert await running.objects.get(f"evaluations/{uuid}/prompts.json") is None


async def test_an_older_evaluation_does_not_take_a_newer_one_s_place(running: Contest) -> None:
    """However late it comes."""
    older = await running.asked(candidates=["right"])
    newer = await running.asked(candidates=["smol"])
    # The older one's events are lost until the newer one is over.
    running.stage.world.broker.held = [
        each for each in running.stage.world.broker.held if older.encode() not in each[1]
    ]
    await running.until(newer, "selected")
    await running.stage.world.event(EvaluationRequested.TYPE, {"evaluation_uuid": older})
    ended = await running.until(older, "superseded", "selected")
    assert ended["status"] == "superseded"
    assert (await running.pointer() or {})["evaluation"] == newer
    assert (await running.stage.world.server("best"))["model_uuid"] == "m-1"


@pytest.mark.parametrize("calls", [*range(CALLS), NEVER])
async def test_killed_anywhere_it_converges(running: Contest, calls: int) -> None:
    """After any call of the Kubernetes API while candidates come and go; ticks do the rest."""
    world = running.stage.world
    uuid = await running.asked()
    world.api.calls_left = calls
    try:
        await running.until(uuid, "selected", "failed")
    except Killed:
        world.broker.held = []
        await world.db.execute("UPDATE evaluations SET updated_at = now() - interval '2 minutes'")
        await world.db.execute("UPDATE server_records SET updated_at = now() - interval '2 minutes'")
        await world.tick()
    ended = await running.until(uuid, "selected", "failed")
    assert world.api.killed == (calls < CALLS)
    assert (ended["winner"], await running.temporary()) == ("right", [])


async def test_delivered_twice_nothing_is_done_twice(running: Contest) -> None:
    """Each event comes a second time, and others ask for a look beside it."""
    world = running.stage.world
    uuid = await running.asked()
    for _ in range(200):
        if (await running.read(uuid))["status"] in {"selected", "failed"}:
            break
        doubled = [each for each in world.broker.held for _ in range(2)]
        world.broker.held = doubled
        await world.event(EvaluationRequested.TYPE, {"evaluation_uuid": uuid})
        await running.stage.tell_news()
    ended = await running.read(uuid)
    assert (ended["winner"], [len(each["results"]) for each in ended["candidates"]]) == ("right", [1, 1])
    servers = await world.db.fetchval("SELECT count(*) FROM server_records WHERE service_name LIKE '%-eval-%'")
    assert servers == 2


async def test_whoever_asked_may_no_longer_operate(running: Contest) -> None:
    """Then it fails and says so."""
    uuid = await running.asked()
    await running.stage.world.db.execute("UPDATE users SET role = 'user' WHERE username = 'a-operator'")
    ended = await running.until(uuid, "failed")
    assert "may not operate" in ended["why"]


@pytest.mark.parametrize(
    ("asked", "status", "word"),
    [
        ({"candidates": []}, 400, "candidates"),
        ({"candidates": ["a", "a"]}, 400, "twice"),
        ({"prompts": [{**CAPITAL, "expect": {}}]}, 400, "one of contains"),
        ({"prompts": [{**CAPITAL, "expect": {"regex": "("}}]}, 400, "regex"),
        ({"prompts": [{**CAPITAL, "prompt": "x"}]}, 400, "either messages or prompt"),
        ({"prompts": "elsewhere/x.json"}, 400, "evaluations/"),
        ({"prompts": "evaluations/../x.json"}, 400, "evaluations/"),
        ({"prompts": "evaluations/nothing.json"}, 422, "not in S3"),
        ({"alias": "a" * 25}, 400, "too long"),
        ({"alias": "status"}, 400, "Torpor's own"),
        ({"options": {"name": "x"}}, 400, "alias says the name"),
        ({"min_score": 0}, 400, "min_score"),
    ],
)
async def test_what_cannot_work_is_refused_at_once(
    running: Contest, asked: dict[str, Any], status: int, word: str
) -> None:
    """With what is wrong; nothing is written."""
    answer = await running.ask(**asked)
    assert (answer.status_code, word in answer.json()["detail"]) == (status, True), answer.text
    assert await running.stage.world.db.fetchval("SELECT count(*) FROM evaluations") == 0


async def test_a_set_in_s3_is_frozen_when_it_is_asked_for(running: Contest) -> None:
    """A later change of the object changes no evaluation."""
    await running.objects.put("evaluations/capitals.json", b'[{"prompt": "x", "expect": {"exact": "Paris"}}]')
    uuid = await running.asked(prompts="evaluations/capitals.json")
    await running.objects.put("evaluations/capitals.json", b"[]")
    ended = await running.until(uuid, "selected", "failed")
    assert (ended["winner"], ended["prompts"]) == ("right", 1)


async def test_only_operators_ask_and_everybody_is_told(running: Contest) -> None:
    """POST and DELETE are refused; what was selected is an event."""
    assert (await running.ask(role="user")).status_code == 403
    uuid = await running.asked()
    world = running.stage.world
    by_a_user = {"authorization": "Bearer user"}
    assert (await world.http.delete(f"/evaluations/{uuid}", headers=by_a_user)).status_code == 403
    await running.until(uuid, "selected")
    assert world.broker.published.count(ModelSelected.TYPE) == 1
    listed = (await running.status.get("/evaluations", headers={"authorization": "Bearer operator"})).json()
    assert [(each["id"], each["winner"], each["candidates"]) for each in listed["evaluations"]] == [
        (uuid, "right", None)
    ]
