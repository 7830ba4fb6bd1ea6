"""A request that is answered later: from POST to the answer, and everything that can be asked of it meanwhile."""

import asyncio
import json
from typing import Any

import pytest

from tests.deliveries import signed
from tests.integration.inference.stage import ANSWER, BODY, Stage


async def test_the_answer_is_kept(inference: Stage) -> None:
    """202 at once; then the event, one call of the model, and the answer where the Location says, for a week."""
    answer = await inference.ask(role="user")
    uuid = answer.json()["id"]
    assert (answer.status_code, answer.headers["location"]) == (202, f"/inference/{uuid}")
    assert (await inference.read(uuid, "user"))["status"] == "queued"

    assert await inference.deliver() == [204]

    read = await inference.read(uuid, "user")
    assert (read["status"], read["attempts"], read["result"], read["error"]) == ("completed", 1, ANSWER, None)
    streamed = await inference.status.get(read["result_url"], headers={"authorization": "Bearer user"})
    assert (streamed.status_code, streamed.json()) == (200, ANSWER)
    assert len(streamed.content) == read["result_bytes"]


async def test_the_model_is_asked_in_the_askers_name(inference: Stage) -> None:
    """Through the ingress by host, with serve's own key; the usage is the person's, and `model` need not be said."""
    await inference.asked(role="user")
    await inference.deliver()

    ((headers, body),) = inference.model.asked
    assert headers["Host"] == "smol.torpor.svc.cluster.local"
    assert headers["path"] == "/v1/chat/completions"
    assert (headers["Authorization"], headers["torpor-subject"]) == ("Bearer serves-key", "a-user")
    assert json.loads(body) == {"model": "smol", **BODY}


async def test_the_same_key_is_the_same_request(inference: Stage) -> None:
    """However often and how closely together it is sent, it is asked once."""
    answers = await asyncio.gather(*(inference.ask(key="one") for _ in range(4)))
    await inference.deliver()
    again = await inference.ask(key="one")

    assert {each.status_code for each in [*answers, again]} == {202}
    assert len({each.json()["id"] for each in [*answers, again]}) == 1
    assert len(inference.model.asked) == 1


async def test_another_request_under_the_same_key_is_refused(inference: Stage) -> None:
    """422 says which request has the key; somebody else's key is somebody else's."""
    uuid = await inference.asked(key="one")

    refused = await inference.ask(key="one", body={"messages": []})
    others = await inference.ask(key="one", role="user")

    assert (refused.status_code, refused.json()["type"]) == (422, "urn:torpor:problem:key-reused")
    assert uuid in refused.json()["detail"]
    assert others.json()["id"] != uuid


async def test_a_request_whose_body_was_not_stored_is_taken_up_again(inference: Stage) -> None:
    """A crash between the row and S3 leaves nothing that runs; the caller's next try goes on from there."""
    uuid = await inference.asked(key="one")
    inference.requests()
    await inference.db.execute("UPDATE inference_requests SET accepted_at = NULL, told_at = NULL")
    await inference.objects.delete([f"inference/{uuid}/request.json"])
    await inference.serve.tick()
    assert inference.requests() == []

    assert await inference.asked(key="one") == uuid
    await inference.deliver()

    assert await inference.state(uuid) == "completed"


async def test_only_one_at_a_time_where_there_is_one_place(inference: Stage) -> None:
    """The queue is the table: the second is told when the first has ended, the oldest first."""
    first, second, third = [await inference.asked() for _ in range(3)]
    (told,) = inference.requests()

    assert await inference.post(told) == 204
    states = [await inference.state(uuid) for uuid in (first, second, third)]
    (next_told,) = inference.requests()

    assert states == ["completed", "queued", "queued"]
    assert next_told[0]["ce-subject"] == second
    assert await inference.post(next_told) == 204
    await inference.deliver()
    assert await inference.state(third) == "completed"


async def test_a_place_that_is_taken_is_not_given_twice(inference: Stage) -> None:
    """An event that comes although there is no place leaves its request in the queue, and the place where it is."""
    first, second = await inference.asked(), await inference.asked()
    (told,) = inference.requests()
    inference.model.hold = asyncio.Event()
    running = asyncio.create_task(inference.post(told))
    await inference.model.arrived.wait()
    unsigned = {name: text for name, text in told[0].items() if name != "ce-signature"}
    data = json.dumps({"inference_uuid": second}).encode()
    early = (signed({**unsigned, "ce-id": "early", "ce-subject": second}, data), data)
    async with asyncio.timeout(30):
        assert await inference.post(early) == 204
    assert [await inference.state(uuid) for uuid in (first, second)] == ["running", "queued"]

    inference.model.hold.set()
    assert await running == 204
    inference.model.hold = None
    await inference.deliver()
    assert [await inference.state(uuid) for uuid in (first, second)] == ["completed", "completed"]


async def test_a_duplicate_of_its_event_asks_nothing(inference: Stage) -> None:
    """While it runs and after it ended."""
    uuid = await inference.asked()
    (told,) = inference.requests()
    inference.model.hold = asyncio.Event()
    running = asyncio.create_task(inference.post(told))
    await inference.model.arrived.wait()

    assert await inference.post(told) == 204
    inference.model.hold.set()
    assert await running == 204
    assert await inference.post(told) == 204

    assert (len(inference.model.asked), await inference.state(uuid)) == (1, "completed")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_somebody_elses_request_is_not_there(inference: Stage, method: str) -> None:
    """Only who asked, and operators: for others the address is one that never was."""
    uuid = await inference.asked(role="admin")
    client = inference.status if method == "GET" else inference.serve.http

    theirs = await client.request(method, f"/inference/{uuid}", headers={"authorization": "Bearer user"})
    nobodys = await client.request(method, "/inference/none", headers={"authorization": "Bearer user"})
    operators = await client.request(method, f"/inference/{uuid}", headers={"authorization": "Bearer operator"})

    assert (theirs.status_code, nobodys.status_code, operators.status_code) == (404, 404, 200)
    assert theirs.json()["type"] == nobodys.json()["type"] == "urn:torpor:problem:inference-not-found"


async def test_a_result_that_is_not_there_yet(inference: Stage) -> None:
    """409 with the state."""
    uuid = await inference.asked()

    answer = await inference.status.get(f"/inference/{uuid}/result", headers={"authorization": "Bearer operator"})

    assert (answer.status_code, answer.json()["detail"]) == (409, "the request is queued")


@pytest.mark.parametrize(
    ("wrong", "status", "says"),
    [
        ({"server": "none"}, 404, "nothing serves 'none'"),
        ({"model": "smol"}, 400, "name either a model or a server"),
        ({"path": "/v1/embeddings"}, 422, "/v1/chat/completions"),
        ({"body": {**BODY, "stream": True}}, 422, "leave `stream` out"),
        ({"body": [1]}, 400, "object"),
        ({"deadline_s": 0}, 400, "deadline_s"),
        ({"callback": {"url": "https://10.0.0.1/x"}}, 422, "TORPOR_WEBHOOK_HOSTS"),
        ({"callback": {"url": "http://example.com/x"}}, 422, "https"),
        ({"callback": {"url": "https://example.com", "secret": "whsec_c2hvcnQ="}}, 400, "24 to 64 bytes"),
        ({"more": 1}, 400, "more"),
    ],
)
async def test_what_cannot_be_asked_is_refused(inference: Stage, wrong: dict[str, Any], status: int, says: str) -> None:
    """With the cause, and nothing is kept."""
    answer = await inference.ask(**wrong)

    assert (answer.status_code, says in answer.json()["detail"]) == (status, True), answer.text
    assert await inference.db.fetchval("SELECT count(*) FROM inference_requests") == 0


async def test_nobody_fills_the_queue(inference: Stage) -> None:
    """429 beyond what one person may have open; what was asked before is still the same request, and others may ask."""
    await inference.db.execute(
        "INSERT INTO inference_requests (uuid, subject, idempotency_key, fingerprint, server_uuid, server_name, model_name,"
        " path, deadline_at) SELECT 'u-' || n, 'a-operator', 'k-' || n, '', '', '', '', '', now() + interval '1 day'"
        " FROM generate_series(1, 10000) AS n"
    )

    refused = await inference.ask()

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
    assert (await inference.ask(role="user")).status_code == 202


async def test_without_a_key_it_is_refused(inference: Stage) -> None:
    """A repeated request would be paid for twice."""
    answer = await inference.serve.http.post("/inference", json={"server": "smol", "body": BODY})

    assert (answer.status_code, "Idempotency-Key" in answer.json()["detail"]) == (400, True)


async def test_results_go_after_a_while(inference: Stage) -> None:
    """Row and objects; what is still wanted stays."""
    old, young = await inference.asked(), await inference.asked()
    await inference.deliver()
    await inference.db.execute(
        "UPDATE inference_requests SET finished_at = now() - interval '8 days' WHERE uuid = $1", old
    )

    await inference.serve.tick()

    kept = {info.key for info in await inference.objects.keys("inference/")}
    assert [key for key in kept if old in key] == []
    assert {f"inference/{young}/request.json", f"inference/{young}/result.json"} <= kept
    assert await inference.db.fetchval("SELECT count(*) FROM inference_requests") == 1
