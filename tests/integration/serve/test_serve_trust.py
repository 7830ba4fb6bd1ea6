"""`serve` and whom it believes: askers who are still users, events that say what the API says, one instance at a time."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kn_model.local.objects.kinds import SERVICE
from tests.deliveries import delivered
from tests.integration.serve.world import NAMESPACE, World, add_model, world

READY = ("Ready", "True", "")


@pytest.fixture
async def serve(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """The function and the world around it."""
    async with world(database_url, tmp_path) as running:
        yield running


async def test_serving_is_refused_to_whoever_may_no_longer_ask(serve: World) -> None:
    """The model came hours later; its asker is gone. A failed record says so, and the event is acknowledged."""
    await add_model(serve.db, "m-2", "late", serve={})
    await serve.db.execute("DELETE FROM users WHERE username = 'somebody'")
    answer = await serve.event("dev.torpor.model.available.v1", {"model_uuid": "m-2", "model_name": "late"})
    assert answer.status_code == 204
    status, error = await serve.status("late")
    assert (status, serve.broker.held) == ("failed", [])
    assert "somebody, who asked for it, is no longer a user" in str(error)


async def test_deploying_is_refused_to_whoever_may_no_longer_ask(serve: World) -> None:
    """Demoted between the request and its event: nothing is created."""
    await serve.http.post("/serve", json={"model": "smol"})
    await serve.db.execute("UPDATE users SET role = 'user' WHERE username = 'a-operator'")
    assert await serve.deliver() == [204]
    status, error = await serve.status("smol")
    assert (status, serve.cluster.writes) == ("failed", [])
    assert "a-operator, who asked for it, is now a user and may not operate" in str(error)


async def test_a_tick_asks_in_the_name_of_whoever_asked(serve: World) -> None:
    """A lost event is no way around the check."""
    await serve.http.post("/serve", json={"model": "smol"})
    serve.broker.held.clear()
    await serve.db.execute("DELETE FROM users WHERE username = 'a-operator'")
    await serve.db.execute("UPDATE server_records SET updated_at = now() - interval '1 hour'")
    assert (await serve.tick(), await serve.deliver()) == (204, [204])
    assert (await serve.status("smol"))[0] == "failed"


async def test_a_server_outlives_whoever_asked_for_it(serve: World) -> None:
    """What runs is repaired and deleted whether that person is still here or not, also when an event is lost."""
    await serve.running()
    await serve.tell(*await serve.cluster.report("smol", READY, ("Active", "True", ""), replicas=1))
    await serve.db.execute("DELETE FROM users WHERE username = 'a-operator'")
    service = serve.cluster.service("smol")
    await serve.cluster.store.delete(SERVICE, NAMESPACE, "smol")
    await serve.tell(service, change="delete")
    assert (await serve.deliver(), serve.cluster.names(SERVICE)) == ([204], ["smol"])
    service = serve.cluster.service("smol")
    await serve.cluster.store.delete(SERVICE, NAMESPACE, "smol")
    await serve.tell(service, change="delete")
    serve.broker.held.clear()
    await serve.db.execute("UPDATE server_records SET updated_at = now() - interval '1 hour'")
    assert (await serve.tick(), await serve.deliver(), serve.cluster.names(SERVICE)) == (204, [204], ["smol"])
    await serve.http.delete("/serve/smol")
    assert (await serve.deliver(), serve.cluster.names(SERVICE)) == ([204], [])


async def test_a_change_that_somebody_made_up_does_no_harm(serve: World) -> None:
    """Nobody signs the ApiServerSource's events: one from far in the future neither breaks a server nor deafens it."""
    await serve.running()
    real = (await serve.cluster.report("smol", READY, ("Active", "True", ""), replicas=1))[0]
    await serve.tell(real)
    broken = [{"type": "Ready", "status": "False", "reason": "Invented", "message": "a lie"}]
    future = {**real["metadata"], "resourceVersion": str(2**60)}
    lie = {**real, "metadata": future, "status": {**real["status"], "conditions": broken}}
    assert (await serve.tell(lie), await serve.status("smol")) == ([204], ("ready", None))
    await serve.tell(*await serve.cluster.report("smol", READY, ("Active", "False", ""), replicas=0))
    assert (await serve.status("smol"))[0] == "asleep"


async def test_a_deletion_that_somebody_made_up_does_no_harm(serve: World) -> None:
    """The Service is there; nothing is made again."""
    await serve.running()
    (service, _) = await serve.cluster.report("smol", READY, ("Active", "True", ""), replicas=1)
    await serve.tell(service)
    assert (await serve.tell(service, change="delete"), serve.broker.held) == ([204], [])
    assert (await serve.status("smol"))[0] == "ready"


@pytest.mark.parametrize("name", ["..", "a/../../../../secrets/x", "a?b", "%2e%2e", "", "x" * 300])
async def test_a_name_leads_to_no_other_path(serve: World, name: str) -> None:
    """It becomes part of a path of the Kubernetes API: 400 for what no object is called."""
    await serve.running()
    service = serve.cluster.service("smol")
    assert await serve.tell({**service, "metadata": {**service["metadata"], "name": name}}) == [400]


async def test_delivered_twice_at_the_same_time(serve: World) -> None:
    """While one instance is at it the other is told to come again (409), and then that it is done; one works."""
    await serve.http.post("/serve", json={"model": "smol"})
    headers, data = serve.broker.held.pop()
    answers = []

    async def deliver() -> None:
        answers.append(await serve.http.post("/events", content=data, headers=delivered(headers)))

    serve.cluster.before = deliver
    await deliver()
    await deliver()
    assert [answer.status_code for answer in answers] == [409, 204, 204]
    assert serve.cluster.writes == ["POST services"]
    assert await serve.db.fetchval("SELECT count(*) FROM inbox_claims") == 0


async def test_whoever_was_killed_holds_nobody_up_for_long(serve: World) -> None:
    """Its claim is a lease: until that ends the event waits at the Broker."""
    await serve.http.post("/serve", json={"model": "smol"})
    (event,) = serve.broker.held
    await serve.db.execute(
        "INSERT INTO inbox_claims VALUES ('/torpor/serve', '/torpor/serve', $1, now() + interval '1 hour')",
        event[0]["ce-id"],
    )
    assert await serve.deliver() == [409]
    await serve.db.execute("UPDATE inbox_claims SET until = now() - interval '1 second'")
    serve.broker.held = [event]
    assert (await serve.deliver(), serve.cluster.names(SERVICE)) == ([204], ["smol"])
