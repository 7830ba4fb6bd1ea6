"""`serve` over real PostgreSQL and a Kubernetes API over HTTP: requests, and the records kept true by events."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from functions.kit.events import ModelAvailable
from kn_model.local.objects.kinds import HTTP_ROUTE, SERVICE
from tests.integration.serve.world import NAMESPACE, World, add_model, world

READY, UNREADY = ("Ready", "True", ""), ("Ready", "Unknown", "Deploying")


@pytest.fixture
async def serve(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """The function and the world around it."""
    async with world(database_url, tmp_path) as running:
        yield running


async def test_from_request_to_ready_to_zero_and_back(serve: World) -> None:
    """The record follows the cluster through the whole life of a replica."""
    answer = await serve.http.post("/serve", json={"model": "smol"})
    assert (answer.status_code, answer.headers["location"]) == (202, "/status/smol")
    seen = [(await serve.status("smol"))[0]]
    assert await serve.deliver() == [204]
    seen.append((await serve.status("smol"))[0])
    for active, replicas in (("True", 1), ("False", 0), ("True", 1)):
        await serve.tell(*await serve.cluster.report("smol", READY, ("Active", active, ""), replicas=replicas))
        seen.append((await serve.status("smol"))[0])
    assert seen == ["pending", "deploying", "ready", "asleep", "ready"]


async def test_the_record_says_where_and_how_large(serve: World) -> None:
    """Endpoint, gateway address, memory by the contract, revision and replicas."""
    await serve.running()
    await serve.tell(*await serve.cluster.report("smol", READY, ("Active", "True", ""), replicas=1))
    row = await serve.server("smol")
    assert {
        name: row[name] for name in ("endpoint", "gateway_url", "memory_max_mb", "revision", "namespace", "actor")
    } == {
        "endpoint": "http://smol.torpor.svc.cluster.local",
        "gateway_url": "http://127.0.0.1:8780/m/smol/v1",
        "memory_max_mb": 3069,
        "revision": "smol-00001",
        "namespace": NAMESPACE,
        "actor": "a-operator",
    }
    assert row["observed"]["replicas"] == 1
    assert row["started_at"] is not None


async def test_the_same_request_again_is_the_same_server(serve: World) -> None:
    """No second record, no second event."""
    first = await serve.http.post("/serve", json={"model": "smol", "memory_mb": 4096})
    second = await serve.http.post("/serve", json={"model": "m-1", "memory_mb": 4096})
    assert (first.json()["uuid"], len(serve.broker.held)) == (second.json()["uuid"], 1)


async def test_another_request_for_a_taken_name_is_refused(serve: World) -> None:
    """And says how to change the server instead."""
    await serve.running()
    answer = await serve.http.post("/serve", json={"model": "smol", "memory_mb": 8192})
    assert (answer.status_code, answer.json()["title"]) == (409, "The name is taken")
    assert "PATCH /serve/smol" in answer.json()["detail"]


REFUSED = [
    pytest.param({"model": "nobody"}, 404, "Model not found", id="unknown model"),
    pytest.param({"model": "fetching"}, 409, "The model is not available", id="still downloading"),
    pytest.param(
        {"model": "smol", "memory_mb": 512}, 422, "The model does not fit the memory asked for", id="too large"
    ),
    pytest.param({"model": "smol", "runtime": "vllm-tpu"}, 422, "The runtime is not known", id="unknown runtime"),
    pytest.param(
        {"model": "smol", "params": {"trust_remote_code": True}}, 422, "The parameter is not allowed", id="parameter"
    ),
    pytest.param({"model": "smol", "name": "Bad Name"}, 400, "The name cannot be used", id="name"),
    pytest.param({"model": "smol", "name": "status"}, 400, "The name cannot be used", id="a function's name"),
    pytest.param({"model": "smol", "scale": {"window_s": 5}}, 400, "The request cannot be understood", id="scale"),
    pytest.param({"model": "smol", "image": "evil"}, 400, "The request cannot be understood", id="unknown field"),
    pytest.param({}, 400, "The request cannot be understood", id="no model"),
]


@pytest.mark.parametrize(("body", "status", "title"), REFUSED)
async def test_a_request_that_cannot_work_is_refused_at_once(
    serve: World, body: dict[str, Any], status: int, title: str
) -> None:
    """Before anything is written or created."""
    await add_model(serve.db, "m-2", "fetching", status="downloading")
    answer = await serve.http.post("/serve", json=body)
    assert (answer.status_code, answer.json()["title"]) == (status, title)
    assert await serve.db.fetchval("SELECT count(*) FROM server_records") == 0


async def test_a_model_that_does_not_fit_is_refused_with_the_numbers(serve: World) -> None:
    """Needed, asked for, and what would fit; the verdict as members of the problem."""
    problem = (await serve.http.post("/serve", json={"model": "smol", "memory_mb": 1024})).json()
    assert problem["detail"] == (
        "smol: 2439 MB are needed for 1 x 4096 tokens: weights 257, KV cache 93, activations 40, runtime 1792, "
        "files while starting 257; 1024 MB of the 1024 MB asked for can be used. What would fit: memory_mb 2560"
    )
    ways = {way: value for way, value in problem["contract"]["nearest"].items() if value is not None}
    assert ways == {"memory_mb": 2560}


async def test_the_contract_alone_creates_nothing(serve: World) -> None:
    """POST /contract answers 200 for a refusal as well."""
    fits = (await serve.http.post("/contract", json={"model": "smol"})).json()
    refused = await serve.http.post("/contract", json={"model": "smol", "memory_mb": 512})
    assert (fits["fits"], refused.status_code, refused.json()["fits"]) == (True, 200, False)
    assert await serve.db.fetchval("SELECT count(*) FROM server_records") == 0


CALLS = [("POST", "/serve"), ("PATCH", "/serve/smol"), ("DELETE", "/serve/smol"), ("POST", "/contract")]


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize(("role", "status"), [("", 401), ("forged", 401), ("user", 403)])
async def test_every_route_verifies_the_caller(serve: World, method: str, path: str, role: str, status: int) -> None:
    """Only operators and administrators may touch servers."""
    headers = {"authorization": f"Bearer {role}"}
    assert (await serve.http.request(method, path, json={"model": "smol"}, headers=headers)).status_code == status


async def test_a_change_makes_a_new_generation(serve: World) -> None:
    """PATCH changes what is named and keeps the rest; the same change again is none."""
    await serve.running(params={"seed": 7})
    answer = await serve.http.patch("/serve/smol", json={"scale": {"max": 3}, "params": {"max_model_len": 2048}})
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    assert await serve.deliver() == [204]
    template = serve.cluster.service("smol")["spec"]["template"]
    assert template["metadata"]["annotations"]["autoscaling.knative.dev/max-scale"] == "3"
    assert answer.json()["params"]["params"] == {"max_model_len": 2048, "seed": 7}
    await serve.http.patch("/serve/smol", json={"scale": {"max": 3}})
    assert (serve.broker.held, serve.cluster.service("smol")["metadata"]["generation"]) == ([], 2)


async def test_a_change_that_does_not_fit_changes_nothing(serve: World) -> None:
    """What runs goes on."""
    await serve.running()
    answer = await serve.http.patch("/serve/smol", json={"memory_mb": 512})
    assert (answer.status_code, await serve.status("smol"), serve.broker.held) == (422, ("deploying", None), [])


async def test_delete_takes_everything_away(serve: World) -> None:
    """The name is free at once, the objects go with the event, and a second DELETE finds nothing."""
    await serve.running()
    assert (await serve.http.delete("/serve/smol")).status_code == 202
    assert await serve.deliver() == [204]
    assert (serve.cluster.names(SERVICE), serve.cluster.names(HTTP_ROUTE)) == ([], [])
    assert (await serve.http.delete("/serve/smol")).status_code == 404


async def test_a_deleted_server_stays_deleted(serve: World) -> None:
    """Late events of its objects change nothing."""
    await serve.running()
    late = await serve.cluster.report("smol", READY, ("Active", "True", ""), replicas=1)
    await serve.http.delete("/serve/smol")
    await serve.deliver()
    assert await serve.tell(*late) == [204, 204]
    await serve.deliver()
    assert (await serve.status("smol"), serve.cluster.names(SERVICE)) == (("deleted", None), [])


async def test_a_name_is_used_again(serve: World) -> None:
    """A new server of the name waits until the old one's objects are gone, and is not deleted with them."""
    await serve.running()
    await serve.http.delete("/serve/smol")
    (deletion,) = serve.broker.held
    serve.broker.held.clear()
    await serve.http.post("/serve", json={"model": "smol"})
    (creation,) = serve.broker.held
    serve.broker.held = [creation, deletion, creation, deletion]
    assert await serve.deliver() == [503, 204, 204, 204]
    assert (await serve.status("smol"), serve.cluster.names(SERVICE)) == (("deploying", None), ["smol"])


async def test_an_available_model_is_served(serve: World) -> None:
    """If whoever pulled it wanted that, with the options they gave."""
    await add_model(serve.db, "m-2", "wanted", serve={"scale": {"max": 2}})
    await serve.event(ModelAvailable.TYPE, {"model_uuid": "m-2", "model_name": "wanted"})
    assert await serve.deliver() == [204]
    row = await serve.server("wanted")
    assert (row["status"], row["actor"], row["request"]) == ("deploying", "somebody", {"scale": {"max": 2}})


async def test_an_available_model_that_nobody_wants_served_is_not(serve: World) -> None:
    """`serve` is null."""
    await serve.event(ModelAvailable.TYPE, {"model_uuid": "m-1", "model_name": "smol"})
    assert await serve.db.fetchval("SELECT count(*) FROM server_records") == 0


async def test_the_same_event_twice_is_one_server(serve: World) -> None:
    """(source, id) is the idempotency key."""
    await add_model(serve.db, "m-2", "wanted", serve={})
    for _ in range(2):
        answer = await serve.event(ModelAvailable.TYPE, {"model_uuid": "m-2", "model_name": "wanted"}, id="once")
        assert (answer.status_code, answer.content) == (204, b"")
    assert (await serve.db.fetchval("SELECT count(*) FROM server_records"), len(serve.broker.held)) == (1, 1)


UNSERVABLE = [
    pytest.param({"memory_mb": 512}, "MB are needed", id="does not fit"),
    pytest.param({"runtime": "vllm-tpu"}, "is not a runtime", id="runtime"),
    pytest.param({"params": {"seed": "x"}}, "seed is 'x'", id="parameter"),
    pytest.param({"nonsense": 1}, "unknown field `nonsense`", id="unreadable"),
    pytest.param({"name": "N" * 300}, "is no name for a server", id="name"),
    pytest.param({"name": "smol"}, "smol serves smol (m-1)", id="name taken"),
]


@pytest.mark.parametrize(("asked", "reason"), UNSERVABLE)
async def test_a_refusal_of_serve_on_available_is_shown(serve: World, asked: dict[str, Any], reason: str) -> None:
    """Nobody waits for the answer, so a failed record has it."""
    await serve.running()
    await add_model(serve.db, "m-2", "wanted", serve=asked)
    answer = await serve.event(ModelAvailable.TYPE, {"model_uuid": "m-2", "model_name": "wanted"})
    row = await serve.db.fetchrow("SELECT * FROM server_records WHERE model_uuid = 'm-2'")
    assert (answer.status_code, row["status"], serve.broker.held) == (204, "failed", [])
    assert reason in row["error"]
    assert (await serve.http.delete(f"/serve/{row['service_name']}")).status_code == 202
    assert (await serve.deliver(), serve.cluster.names(SERVICE)) == ([204], ["smol"])


async def test_the_next_try_after_a_refusal_works(serve: World) -> None:
    """A failed server of the model takes the new request over."""
    await add_model(serve.db, "m-2", "wanted", serve={"memory_mb": 512})
    await serve.event(ModelAvailable.TYPE, {"model_uuid": "m-2", "model_name": "wanted"})
    answer = await serve.http.post("/serve", json={"model": "wanted", "memory_mb": 4096})
    assert (answer.status_code, await serve.deliver()) == (202, [204])
    assert await serve.status("wanted") == ("deploying", None)
