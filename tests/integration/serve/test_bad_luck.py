"""`serve` when the Kubernetes API, the Broker, other people or the process itself get in the way: it converges."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kn_model.local.objects.kinds import HTTP_ROUTE, REVISION, SERVICE
from tests.integration.serve.world import NAMESPACE, Killed, World, add_model, world

READY, AWAKE, ASLEEP = ("Ready", "True", ""), ("Active", "True", ""), ("Active", "False", "NoTraffic")
FAILED, NO_CPU = ("Ready", "False", "RevisionFailed"), ("ResourcesAvailable", "False", "Unschedulable")


@pytest.fixture
async def serve(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """The function and the world around it."""
    async with world(database_url, tmp_path) as running:
        yield running


@pytest.mark.parametrize("calls", range(2))
async def test_killed_after_any_call_while_creating(serve: World, calls: int) -> None:
    """The Broker delivers again: one Service, one generation."""
    await serve.http.post("/serve", json={"model": "smol"})
    (event,) = serve.broker.held
    serve.api.calls_left = calls
    with pytest.raises(Killed):
        await serve.deliver()
    serve.broker.held = [event]
    assert await serve.deliver() == [204]
    assert (serve.cluster.names(SERVICE), serve.cluster.names(HTTP_ROUTE)) == (["smol"], [])
    assert serve.cluster.service("smol")["metadata"]["generation"] == 1
    assert await serve.status("smol") == ("deploying", None)


@pytest.mark.parametrize("calls", range(4))
async def test_killed_after_any_call_while_deleting(serve: World, calls: int) -> None:
    """Nothing is left behind."""
    await serve.running()
    await serve.tell(*await serve.cluster.report("smol", READY))
    await serve.http.delete("/serve/smol")
    (event,) = serve.broker.held
    serve.api.calls_left = calls
    with pytest.raises(Killed):
        await serve.deliver()
    serve.broker.held = [event]
    assert await serve.deliver() == [204]
    assert (serve.cluster.names(SERVICE), serve.cluster.names(HTTP_ROUTE)) == ([], [])


@pytest.mark.parametrize("status", [400, 403, 422])
async def test_a_refusal_of_the_api_is_shown(serve: World, status: int) -> None:
    """In the API's own words; a new request after the cause is gone works."""
    await serve.http.post("/serve", json={"model": "smol"})
    serve.cluster.faults = [(status, "spec.template.spec.containers[0].image: no such registry")]
    assert await serve.deliver() == [204]
    assert await serve.status("smol") == (
        "failed",
        f"the Kubernetes API refused it: spec.template.spec.containers[0].image: no such registry ({status})",
    )
    await serve.running()
    assert await serve.status("smol") == ("deploying", None)


@pytest.mark.parametrize("status", [429, 500, 503, 504])
async def test_bad_luck_of_the_api_is_retried(serve: World, status: int) -> None:
    """The Broker is told to come again, and the state is still the truth."""
    await serve.http.post("/serve", json={"model": "smol"})
    (event,) = serve.broker.held
    serve.cluster.faults = [(status, "etcd leader changed")]
    assert (await serve.deliver(), await serve.status("smol")) == ([503], ("pending", None))
    serve.broker.held = [event]
    assert (await serve.deliver(), await serve.status("smol")) == ([204], ("deploying", None))


async def test_an_answer_lost_after_success(serve: World) -> None:
    """Created, and nobody heard: the next try finds it and goes on."""
    await serve.http.post("/serve", json={"model": "smol"})
    (event,) = serve.broker.held
    serve.cluster.lost = 1
    assert await serve.deliver() == [503]
    serve.broker.held = [event]
    assert await serve.deliver() == [204]
    assert serve.cluster.writes == ["POST services"]


async def test_somebody_else_writes_at_the_same_time(serve: World) -> None:
    """A conflict is resolved by looking again; what the other wrote stays."""
    await serve.running()

    async def label() -> None:
        labels = {"metadata": {"labels": {"team": "search"}}}
        await serve.cluster.store.merge_patch(SERVICE, NAMESPACE, "smol", labels)

    await serve.http.patch("/serve/smol", json={"scale": {"max": 2}})
    serve.cluster.before = label
    assert await serve.deliver() == [204]
    service = serve.cluster.service("smol")
    annotations = service["spec"]["template"]["metadata"]["annotations"]
    assert (service["metadata"]["labels"]["team"], annotations["autoscaling.knative.dev/max-scale"]) == ("search", "2")


async def test_a_fight_that_does_not_end_is_put_off(serve: World) -> None:
    """After five conflicts the event comes again later."""
    await serve.running()
    await serve.http.patch("/serve/smol", json={"scale": {"max": 2}})
    serve.cluster.faults = [(409, "the object has been modified")] * 5
    assert await serve.deliver() == [503]


async def test_changed_while_it_was_applied(serve: World) -> None:
    """The older request may have been written last: the server is driven once more, to the newer one."""
    await serve.http.post("/serve", json={"model": "smol"})

    async def change() -> None:
        await serve.http.patch("/serve/smol", json={"scale": {"max": 5}})

    serve.cluster.before = change
    assert await serve.deliver() == [204, 204, 204]
    annotations = serve.cluster.service("smol")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["autoscaling.knative.dev/max-scale"] == "5"
    assert await serve.status("smol") == ("deploying", None)


async def test_a_service_of_somebody_else_is_left_alone(serve: World) -> None:
    """The server fails and says whose name it is."""
    spec = {"template": {"spec": {"containers": [{"image": "theirs"}]}}}
    metadata = {"name": "smol", "namespace": NAMESPACE}
    theirs = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": metadata, "spec": spec}
    before = await serve.cluster.store.create(theirs)
    await serve.running()
    assert await serve.status("smol") == (
        "failed",
        "Service smol exists and was not made by Torpor; choose another name or delete it",
    )
    await serve.http.delete("/serve/smol")
    await serve.deliver()
    assert serve.cluster.service("smol") == before


async def test_events_out_of_order_never_move_backwards(serve: World) -> None:
    """Every order of three events ends where the newest one says."""
    await serve.running()
    old = await serve.cluster.report("smol", ("Ready", "Unknown", "Deploying"), ("Active", "Unknown", ""), replicas=0)
    mid = await serve.cluster.report("smol", FAILED, NO_CPU, replicas=0)
    new = await serve.cluster.report("smol", READY, AWAKE, replicas=1)
    await serve.tell(*new, *old, *mid, *new, *old)
    assert await serve.status("smol") == ("ready", None)


async def test_unschedulable_is_shown_and_mends_itself(serve: World) -> None:
    """Failed with the cluster's reason; ready once a node has room."""
    await serve.running()
    await serve.tell(*await serve.cluster.report("smol", FAILED, NO_CPU, replicas=0))
    assert await serve.status("smol") == (
        "failed",
        "no node has the CPU, memory or GPU that it asks for (Unschedulable: Unschedulable.)",
    )
    await serve.tell(*await serve.cluster.report("smol", READY, AWAKE, replicas=1))
    assert await serve.status("smol") == ("ready", None)


async def test_a_service_deleted_by_hand_is_made_again(serve: World) -> None:
    """The record is the truth; the late event of the old object is not taken for a second deletion."""
    await serve.running()
    gone = await serve.cluster.store.delete(SERVICE, NAMESPACE, "smol")
    assert await serve.tell(gone, change="delete") == [204]
    assert await serve.status("smol") == (
        "pending",
        "its Knative Service was deleted from outside and is being made again",
    )
    await serve.deliver()
    assert await serve.tell(gone, change="delete") == [204]
    assert (await serve.status("smol"), serve.cluster.names(SERVICE)) == (("deploying", None), ["smol"])


async def test_the_broker_is_down(serve: World) -> None:
    """The request is accepted; the tick sends its event."""
    serve.broker.down = True
    await serve.http.post("/serve", json={"model": "smol"})
    serve.broker.down = False
    await serve.db.execute("UPDATE outbox SET due_at = now()")
    await serve.tick()
    assert await serve.deliver() == [204]
    assert await serve.status("smol") == ("deploying", None)


async def test_the_tick_drives_what_lost_its_event(serve: World) -> None:
    """Accepted by a broker that then died: pending for more than a minute."""
    await serve.http.post("/serve", json={"model": "smol"})
    serve.broker.held.clear()
    await serve.tick()
    assert serve.broker.held == []
    await serve.db.execute("UPDATE server_records SET updated_at = now() - interval '61 seconds'")
    await serve.tick()
    assert (await serve.deliver(), await serve.status("smol")) == ([204], ("deploying", None))


async def test_the_tick_serves_what_nobody_was_told_of(serve: World) -> None:
    """`model.available` accepted by a broker that then died: the model that was to be served is, and only once."""
    await add_model(serve.db, "m-2", "wanted", serve={})
    await serve.db.execute("UPDATE model_records SET actor = 'somebody', downloaded_at = now() WHERE uuid = 'm-2'")
    await serve.tick()
    assert serve.broker.held == []
    await serve.db.execute("UPDATE model_records SET downloaded_at = now() - interval '61 seconds' WHERE uuid = 'm-2'")
    await serve.tick()
    await serve.tick()
    assert await serve.deliver() == [204, 204, 204]
    assert (await serve.status("wanted"), serve.cluster.names(SERVICE)) == (("deploying", None), ["wanted"])
    await serve.http.delete("/serve/wanted")
    await serve.deliver()
    await serve.tick()
    assert (serve.broker.held, serve.cluster.names(SERVICE)) == ([], [])


@pytest.mark.parametrize(("active", "replicas", "expected"), [(AWAKE, 1, "ready"), (ASLEEP, 0, "asleep")])
async def test_the_tick_reads_what_no_event_told(
    serve: World, active: tuple[str, str, str], replicas: int, expected: str
) -> None:
    """Every event of the ApiServerSource lost: the record is true after one tick."""
    await serve.running()
    await serve.cluster.report("smol", READY, active, replicas=replicas)
    assert (await serve.tick(), (await serve.status("smol"))[0]) == (204, expected)


async def test_the_tick_makes_again_what_is_missing(serve: World) -> None:
    """A deletion that no event told."""
    await serve.running()
    await serve.cluster.store.delete(SERVICE, NAMESPACE, "smol")
    await serve.tick()
    await serve.deliver()
    assert serve.cluster.names(SERVICE) == ["smol"]


async def test_the_tick_takes_away_what_is_left(serve: World) -> None:
    """A deleted server whose event was lost."""
    await serve.running()
    await serve.http.delete("/serve/smol")
    serve.broker.held.clear()
    await serve.tick()
    await serve.deliver()
    assert (serve.cluster.names(SERVICE), serve.cluster.names(HTTP_ROUTE)) == ([], [])


GARBAGE = [
    pytest.param({}, id="nothing"),
    pytest.param([], id="a list"),
    pytest.param({"kind": "Service"}, id="no metadata"),
    pytest.param({"kind": "Secret", "metadata": {"resourceVersion": "1"}}, id="another kind"),
    pytest.param({"kind": "Service", "metadata": {"resourceVersion": "x", "uid": "u", "name": "n"}}, id="no number"),
]


@pytest.mark.parametrize("data", GARBAGE)
async def test_an_event_that_can_never_work_is_rejected(serve: World, data: Any) -> None:
    """400, so that the Broker does not try again."""
    await serve.running()
    if isinstance(data, dict) and "uid" in data.get("metadata", {}):
        data["metadata"]["labels"] = serve.cluster.service("smol")["metadata"]["labels"]
    assert await serve.tell(data) == [400]
    assert await serve.status("smol") == ("deploying", None)


async def test_objects_of_others_are_acknowledged(serve: World) -> None:
    """A Service without our labels is nobody's business here."""
    metadata = {"name": "theirs", "namespace": NAMESPACE, "uid": "u", "resourceVersion": "5"}
    assert await serve.tell({"kind": "Service", "metadata": metadata}) == [204]


async def test_revisions_of_a_vanished_record_are_acknowledged(serve: World) -> None:
    """A database that was restored knows nothing of them; nothing is deleted on a guess."""
    await serve.running()
    told = await serve.cluster.report("smol", READY, AWAKE, replicas=1)
    await serve.db.execute("DELETE FROM server_records")
    assert await serve.tell(*told) == [204, 204]
    assert (serve.cluster.names(SERVICE), serve.cluster.names(REVISION)) == (["smol"], ["smol-00001"])
