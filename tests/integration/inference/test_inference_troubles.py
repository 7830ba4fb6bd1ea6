"""What goes wrong on the way to an answer: each request ends once, in a state that says why."""

import asyncio
import json

import pytest

from tests.integration.inference.stage import ANSWER, Stage

BUSY = (503, {"title": "Not starting", "detail": "no replica is ready"})
TOO_LONG = (400, {"error": {"message": "This model's maximum context length is 2048 tokens.", "code": 400}})


async def test_the_models_own_refusal_is_the_end(inference: Stage) -> None:
    """What can never work is not tried again: the model's words and its status, and no dead letter."""
    inference.model.script = [TOO_LONG]
    uuid = await inference.asked()

    assert await inference.deliver() == [204]

    read = await inference.read(uuid)
    assert (read["status"], read["attempts"], read["http_status"]) == ("failed", 1, 400)
    assert read["error"] == "This model's maximum context length is 2048 tokens."
    assert len(inference.requests("inference.failed")) == 1


@pytest.mark.parametrize(
    "bad",
    [
        BUSY,
        (429, {"error": {"message": "busy"}}),
        (500, {"error": {"message": "the engine died"}}),
        (401, {"error": {"message": "serve's own key"}}),
        (404, {"title": "Not found", "detail": "no service", "error": {"message": "no service", "type": "not_found"}}),
    ],
    ids=["not ready", "busy", "broken", "our key", "no route yet"],
)
async def test_bad_luck_is_tried_again(inference: Stage, bad: tuple[int, object]) -> None:
    """503 brings the event again; until then the request is queued, with the reason, and its place is free."""
    inference.model.script = [bad]
    uuid = await inference.asked()
    (event,) = inference.requests()

    assert await inference.post(event) == 503
    waiting = await inference.read(uuid)
    assert await inference.post(event) == 204

    done = await inference.read(uuid)
    assert (waiting["status"], waiting["http_status"], str(bad[0]) in waiting["error"]) == ("queued", bad[0], True)
    assert (done["status"], done["attempts"], done["error"], done["result"]) == ("completed", 2, None, ANSWER)


async def test_nobody_answers(inference: Stage) -> None:
    """Likewise when there is no ingress at all."""
    uuid = await inference.asked()
    (event,) = inference.requests()
    await inference.unplug()

    assert await inference.post(event) == 503
    assert "does not answer" in (await inference.read(uuid))["error"]


async def given_up(inference: Stage) -> tuple[str, tuple[dict[str, str], bytes]]:
    """A request that failed after its last attempt, and its event."""
    inference.model.script = [BUSY] * 3
    uuid = await inference.asked()
    (event,) = inference.requests()
    assert [await inference.post(event) for _ in range(3)] == [503, 503, 400]
    return uuid, event


async def test_after_the_last_attempt_it_is_a_dead_letter(inference: Stage) -> None:
    """400 sends the event there at once; the request says what the last attempt met."""
    uuid, _ = await given_up(inference)

    read = await inference.read(uuid)
    assert (read["status"], read["attempts"], read["http_status"]) == ("failed", 3, 503)
    assert "in 3 attempts; the last time: answered 503: no replica is ready" in read["error"]
    assert len(inference.requests("inference.failed")) == 1


async def test_a_redriven_dead_letter_is_asked_once_more(inference: Stage) -> None:
    """It starts anew and can end well; redriven again, it does nothing."""
    uuid, event = await given_up(inference)

    await inference.redriven(event)
    assert await inference.post(event) == 204
    assert (await inference.read(uuid))["status"] == "completed"
    asked = len(inference.model.asked)
    await inference.redriven(event)

    assert await inference.post(event) == 204
    assert (len(inference.model.asked), await inference.state(uuid)) == (asked, "completed")


async def test_a_duplicate_does_not_revive_what_failed(inference: Stage) -> None:
    """Only an operator's redrive does."""
    uuid, event = await given_up(inference)

    assert await inference.post(event) == 204
    assert (len(inference.model.asked), await inference.state(uuid)) == (3, "failed")


async def test_what_waits_can_be_cancelled(inference: Stage) -> None:
    """Its event finds nothing to do; cancelling again changes nothing, and what has ended stays as it is."""
    uuid = await inference.asked()
    client = inference.serve.http

    answers = [await client.delete(f"/inference/{uuid}") for _ in range(2)]
    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "cancelled")] * 2
    assert await inference.deliver() == [204]
    assert inference.model.asked == []

    done = await inference.asked()
    await inference.deliver()
    late = await client.delete(f"/inference/{done}")
    assert (late.status_code, await inference.state(done)) == (409, "completed")


async def test_what_runs_is_broken_off(inference: Stage) -> None:
    """The model sees its caller leave, which stops it; the place is the next one's at once."""
    uuid, after = await inference.asked(), await inference.asked()
    (event,) = inference.requests()
    inference.model.hold = asyncio.Event()
    running = asyncio.create_task(inference.post(event))
    await inference.model.arrived.wait()

    assert (await inference.serve.http.delete(f"/inference/{uuid}")).status_code == 200
    (next_event,) = inference.requests()

    assert (await running, inference.model.hung_up) == (204, 1)
    assert (await inference.state(uuid), next_event[0]["ce-subject"]) == ("cancelled", after)


async def test_a_deadline_ends_what_waits(inference: Stage) -> None:
    """By the tick, without having been asked."""
    uuid = await inference.asked(deadline_s=5)
    inference.requests()
    await inference.db.execute("UPDATE inference_requests SET deadline_at = now() - interval '1 second'")

    assert await inference.serve.tick() == 204

    assert (await inference.state(uuid), inference.model.asked) == ("expired", [])
    assert len(inference.requests("inference.failed")) == 1


async def test_a_deadline_ends_what_runs(inference: Stage) -> None:
    """The call, if it had begun, is broken off at that moment."""
    uuid = await inference.asked(deadline_s=3)
    inference.model.hold = asyncio.Event()
    (event,) = inference.requests()

    codes = [await inference.post(event)]
    while codes[-1] == 503:
        codes.append(await inference.post(event))

    assert (codes[-1], await inference.state(uuid)) == (204, "expired")
    assert (inference.model.hung_up, len(inference.model.asked)) == (1, 1)


async def killed_in_mid_call(inference: Stage) -> str:
    """A request whose worker was killed: running, under a lease that nobody renews any more and that has run out."""
    uuid = await inference.asked()
    (event,) = inference.requests()
    inference.model.hold = asyncio.Event()
    killed = asyncio.create_task(inference.post(event))
    await inference.model.arrived.wait()
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    inference.model.hold = None
    await inference.db.execute("UPDATE inference_requests SET lease_until = now() - interval '1 second'")
    return uuid


async def test_who_is_killed_is_followed(inference: Stage) -> None:
    """The lease runs out, the tick tells the request again, and it is completed once."""
    uuid = await killed_in_mid_call(inference)

    await inference.serve.tick()
    await inference.deliver()

    read = await inference.read(uuid)
    assert (read["status"], read["attempts"], len(inference.model.asked)) == ("completed", 2, 2)
    assert len(inference.requests("inference.completed")) == 1


async def test_an_answer_that_was_stored_is_not_asked_for_again(
    inference: Stage,
) -> None:
    """A worker killed between S3 and PostgreSQL has done its work: nobody pays for it twice."""
    uuid = await killed_in_mid_call(inference)
    await inference.objects.put(f"inference/{uuid}/result.json", b'{"stored": true}')

    await inference.serve.tick()
    await inference.deliver()

    read = await inference.read(uuid)
    assert (read["status"], read["result"], len(inference.model.asked)) == ("completed", {"stored": True}, 1)


async def test_who_lost_the_lease_has_no_effect(inference: Stage) -> None:
    """Two that ask for one request: the first answer that was stored is the answer, and it is completed once."""
    uuid = await inference.asked()
    (event,) = inference.requests()
    inference.model.hold = asyncio.Event()
    slow = asyncio.create_task(inference.post(event))
    await inference.model.arrived.wait()
    await inference.db.execute("UPDATE inference_requests SET lease = 'another', attempts = 2")
    await inference.objects.put(f"inference/{uuid}/result.json", b'{"first": true}')
    inference.model.hold.set()

    assert await slow == 204
    running = await inference.read(uuid)
    await inference.db.execute("UPDATE inference_requests SET lease_until = now() - interval '1 second'")
    await inference.serve.tick()
    await inference.deliver()

    done = await inference.read(uuid)
    assert (running["status"], done["status"], done["result"]) == ("running", "completed", {"first": True})
    assert len(inference.requests("inference.completed")) == 1


async def test_a_lost_event_is_told_again(inference: Stage) -> None:
    """Half a minute later by the tick; until then the place is kept for it."""
    uuid = await inference.asked()
    inference.requests()
    await inference.serve.tick()
    assert inference.requests() == []

    await inference.db.execute("UPDATE inference_requests SET told_at = now() - interval '1 minute'")
    await inference.serve.tick()
    await inference.deliver()

    assert await inference.state(uuid) == "completed"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("DELETE FROM users WHERE username = 'a-operator'", "no longer a user"),
        ("UPDATE inference_requests SET key_id = 'revoked1'", "revoked or has expired"),
        ("UPDATE server_records SET status = 'deleted'", "the server smol was deleted"),
    ],
    ids=["the person left", "the key is revoked", "the server is gone"],
)
async def test_what_is_no_longer_allowed_is_not_asked(inference: Stage, change: str, says: str) -> None:
    """Between asking and answering lie hours: it is looked at again."""
    uuid = await inference.asked()
    await inference.db.execute(change)

    assert await inference.deliver() == [204]

    read = await inference.read(uuid, "admin")
    assert (read["status"], says in read["error"], inference.model.asked) == ("failed", True, [])


async def test_a_result_without_s3_is_still_told_of(inference: Stage) -> None:
    """The record says completed; only the answer has to wait."""
    uuid = await inference.asked()
    await inference.deliver()
    await inference.objects.delete([f"inference/{uuid}/result.json"])

    read = await inference.read(uuid)
    lost = await inference.status.get(read["result_url"], headers={"authorization": "Bearer operator"})

    assert (read["status"], read["result"], lost.status_code) == ("completed", None, 409)


async def test_an_answer_that_is_too_large_is_refused(inference: Stage) -> None:
    """It would be as large the next time."""
    inference.model.script = [(200, {"data": "x" * 9_000_000})]
    uuid = await inference.asked()

    assert await inference.deliver() == [204]

    read = await inference.read(uuid)
    assert (read["status"], "ask for less" in read["error"]) == ("failed", True)


async def test_news_tell_of_the_end_in_the_askers_name(inference: Stage) -> None:
    """`inference.completed` carries who asked, so that nobody else follows it."""
    uuid = await inference.asked(role="user")
    await inference.deliver()

    ((headers, data),) = inference.requests("inference.completed")
    assert (headers["ce-actor"], json.loads(data)["inference_uuid"]) == ("a-user", uuid)
