"""A ModelServe resource becomes a server, says what became of it, and takes its server along when it goes.

The file is long because a resource has one life and every test is a turn that it can take.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kn_model.local.objects.kinds import CUSTOM_RESOURCE_DEFINITION, SERVICE
from tests.integration.serve.resources import Resources, resources_of
from tests.integration.serve.stage import stage
from tests.integration.serve.world import NAMESPACE, Killed, add_model, world

AWAKE = (("Ready", "True", ""), ("Active", "True", ""))
ASLEEP = (("Ready", "True", ""), ("Active", "False", "NoTraffic"))
# Calls of the Kubernetes API.
MAKING, DELETING = 6, 4


@pytest.fixture
async def resources(database_url: str, tmp_path: Path) -> AsyncIterator[Resources]:
    """`serve`, acting for `somebody` where a resource carries no token, on a cluster that has the definition."""
    async with world(database_url, tmp_path, modelserve_actor="somebody") as running:
        yield await resources_of(running)


async def test_it_becomes_a_server(resources: Resources) -> None:
    """The same record and objects as by POST /serve, in the configured user's name; conditions follow the cluster."""
    assert await resources.make(replicas=2, scale={"windowSeconds": 30}, params={"max_model_len": 512}) == [204, 204]
    row = await resources.world.server("smol")
    assert (row["actor"], row["request"]["params"]) == ("somebody", {"max_model_len": 512})
    assert row["request"]["scale"] == {"max": 2, "window_s": 30}
    annotations = resources.world.cluster.service("smol")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["autoscaling.knative.dev/window"] == "30s"
    assert (resources.said(), resources.said(kind="ModelAvailable")) == (
        ("Unknown", "Deploying"),
        ("True", "Available"),
    )
    await resources.report(*AWAKE, replicas=1)
    assert (resources.said(), resources.said(kind="Deployed")) == (("True", "Serving"), ("True", "Serving"))
    await resources.report(*ASLEEP, replicas=0)
    assert resources.said() == ("True", "Asleep")
    status = resources.get()["status"]
    assert {each["observedGeneration"] for each in status.pop("conditions")} == {1}
    assert status == {
        "observedGeneration": 1,
        "modelName": "smol",
        "modelUuid": "m-1",
        "serverUuid": row["uuid"],
        "state": "asleep",
        "url": "http://127.0.0.1:8780/m/smol/v1",
        "revision": "smol-00001",
        "replicas": 0,
    }


async def test_nothing_is_written_when_nothing_changes(resources: Resources) -> None:
    """Its own status is a change of the resource, too: an event about it leads to no other."""
    await resources.make()
    await resources.report(*AWAKE, replicas=1)
    before, writes = resources.get(), len(resources.world.cluster.writes)
    for change in ("add", "update", "update"):
        assert await resources.tell(change=change) == [204]
    await resources.world.tick()
    assert (resources.get(), len(resources.world.cluster.writes)) == (before, writes)


async def test_a_change_goes_the_way_of_a_patch(resources: Resources) -> None:
    """Scale at once; the generation that the conditions speak of is the new one."""
    await resources.make()
    await resources.report(*AWAKE, replicas=1)
    await resources.change(replicas=3)
    annotations = resources.world.cluster.service("smol")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["autoscaling.knative.dev/max-scale"] == "3"
    assert (resources.get()["status"]["observedGeneration"], resources.said()) == (2, ("Unknown", "Deploying"))


async def test_another_model_is_rolled_out(database_url: str, tmp_path: Path) -> None:
    """Beside what serves, whose URL stays; taken back by hand, it is not tried again until the spec changes."""
    async with stage(database_url, tmp_path, modelserve_actor="somebody") as play:
        resources = await resources_of(play.world)
        await resources.make(rollout={"holdSeconds": 0, "minRequests": 5, "expect": "paris"})
        await play.until_ready()
        await resources.change(modelName="better")
        row = await play.until_state("stepping")
        assert (row["model_uuid"], row["actor"], row["options"]["min_requests"]) == ("m-2", "somebody", 5)
        assert (resources.said(), resources.get()["status"]["modelName"]) == (("Unknown", "RollingOut"), "better")
        assert (await play.world.http.post("/serve/smol/rollback")).status_code == 202
        await play.until_models(m_1=100)
        await play.world.tick()
        await play.tell_news()
        assert (resources.said(), play.models()) == (("False", "RolledBack"), {"m-1": 100})
        await resources.change(modelName="other")
        await play.until_state("stepping")
        assert play.models()["m-3"] == 5


@pytest.mark.parametrize(
    ("spec", "status", "says"),
    [
        ({"modelName": "later"}, None, ("False", "ModelNotFound")),
        ({"modelUuid": "m-9"}, "downloading", ("Unknown", "ModelNotAvailable")),
        ({"minioPath": "models/later/"}, "downloading", ("Unknown", "ModelNotAvailable")),
        ({"modelName": "later"}, "failed", ("False", "ModelFailed")),
    ],
    ids=["missing", "by uuid", "by path", "failed"],
)
async def test_it_waits_for_its_model(
    resources: Resources, spec: dict[str, Any], status: str | None, says: tuple[str, str]
) -> None:
    """And goes on by itself when the model becomes available."""
    db = resources.world.db
    if status:
        await add_model(db, "m-9", "later", status=status)
        await db.execute("UPDATE model_records SET minio_path = 'models/later' WHERE uuid = 'm-9'")
    assert (await resources.make(**spec), resources.said()) == ([204], says)
    if not status:
        await add_model(db, "m-9", "later")
    await db.execute("UPDATE model_records SET status = 'available' WHERE uuid = 'm-9'")
    await resources.world.event("dev.torpor.model.available.v1", {"model_uuid": "m-9", "model_name": "later"})
    await resources.world.deliver()
    assert (resources.said(), (await resources.world.server("smol"))["model_uuid"]) == (("Unknown", "Deploying"), "m-9")


@pytest.mark.parametrize("told", [True, False], ids=["event", "tick"])
async def test_its_server_goes_with_it(resources: Resources, told: bool) -> None:  # noqa: FBT001  # pytest's
    """By its event, or by the next tick when that is lost; no finalizer holds the resource up."""
    await resources.make()
    await resources.delete(told=told)
    if not told:
        await resources.world.tick()
        await resources.world.deliver()
    assert (resources.world.cluster.names(SERVICE), await resources.world.status("smol")) == ([], ("deleted", None))


async def test_a_tick_does_what_no_event_did(resources: Resources) -> None:
    """A resource that was made while nobody told is found."""
    kind = resources.kind
    metadata = {"name": "smol", "namespace": NAMESPACE}
    obj = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": {"modelUuid": "m-1"}}
    await resources.store.create(obj)
    await resources.world.tick()
    await resources.world.deliver()
    assert resources.world.cluster.names(SERVICE) == ["smol"]


async def test_the_bad_luck_of_one_resource_is_not_the_others(resources: Resources) -> None:
    """Others are made on the same tick; the Broker is told that something is left to do."""
    await resources.make()
    await resources.change(replicas=2)
    await resources.store.merge_patch(resources.kind, NAMESPACE, "smol", {"spec": {"replicas": 3}})
    metadata = {"name": "tiny", "namespace": NAMESPACE}
    obj = {"apiVersion": resources.kind.api_version, "kind": "ModelServe", "metadata": metadata}
    await resources.store.create({**obj, "spec": {"modelUuid": "m-1"}})
    resources.world.cluster.faults = [(503, "etcd leader changed")]
    assert await resources.world.tick() == 503
    await resources.world.deliver()
    assert resources.world.cluster.names(SERVICE) == ["smol", "tiny"]


async def test_a_server_that_was_deleted_comes_back(resources: Resources) -> None:
    """The resource still asks for it: whoever means it deletes the resource."""
    await resources.make()
    before = await resources.world.server("smol")
    assert (await resources.world.http.delete("/serve/smol")).status_code == 202
    await resources.world.deliver()
    after = await resources.world.server("smol")
    assert (resources.world.cluster.names(SERVICE), after["uuid"] == before["uuid"]) == (["smol"], False)
    assert resources.get()["status"]["serverUuid"] == after["uuid"]


async def test_a_later_resource_of_the_same_name_takes_the_server_over(resources: Resources) -> None:
    """Deleted and made again while nobody looked: one server, without an interruption."""
    await resources.make()
    before = await resources.world.server("smol")
    await resources.delete(told=False)
    await resources.make(replicas=2)
    after = await resources.world.server("smol")
    assert (after["uuid"], after["request"]["scale"]) == (before["uuid"], {"max": 2})


async def test_a_server_of_somebody_else_is_left_alone(resources: Resources) -> None:
    """It was made by POST /serve: the condition says so, and deleting the resource does not touch it."""
    await resources.world.running()
    await resources.make(replicas=2)
    assert resources.said() == ("False", "NameTaken")
    assert "that this resource did not make" in resources.message()
    await resources.delete()
    assert resources.world.cluster.names(SERVICE) == ["smol"]


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        ({"params": {"trust_remote_code": True}}, "BadParameter", "trust_remote_code"),
        ({"runtime": "abacus"}, "UnknownRuntime", "abacus"),
        ({"memoryMb": 300}, "DoesNotFit", "MB"),
        ({"rollout": {"steps": [50, 5]}}, "BadSpec", "steps have to grow"),
        ({"params": {"a": {"b": 1}}}, "BadSpec", "params"),
    ],
)
async def test_what_the_definition_lets_through_is_judged_as_a_request_is(
    resources: Resources, spec: dict[str, Any], reason: str, words: str
) -> None:
    """The condition names the problem; nothing is made; mending the spec mends it."""
    await resources.make(**spec)
    assert (resources.said(), words in resources.message()) == (("False", reason), True), resources.message()
    assert resources.world.cluster.names(SERVICE) == []
    mended: dict[str, Any] = dict.fromkeys(spec)
    await resources.change(**mended)
    assert resources.said() == ("Unknown", "Deploying")


async def test_a_token_says_in_whose_name(resources: Resources, caplog: pytest.LogCaptureFixture) -> None:
    """An operator's becomes the actor; it is in no log, table or status, and what it allowed outlives it."""
    await resources.make(token="operator")
    assert (await resources.world.server("smol"))["actor"] == "a-operator"
    rows = await resources.world.db.fetch("SELECT * FROM modelserves")
    assert (rows[0]["actor"], "operator" in str(dict(rows[0]) | {"actor": ""})) == ("a-operator", False)
    assert "operator" not in str(resources.get()["status"])
    assert "Bearer" not in caplog.text


async def test_a_token_that_expired_goes_on_for_what_it_allowed(resources: Resources) -> None:
    """A JWT lives an hour, a download may take longer. A changed spec needs a valid one; what serves goes on meanwhile."""
    await add_model(resources.world.db, "m-9", "later", status="downloading")
    await resources.make(token="operator", modelName="later")
    resources.world.roles.expired.add("operator")
    await resources.world.db.execute("UPDATE model_records SET status = 'available' WHERE uuid = 'm-9'")
    await resources.world.event("dev.torpor.model.available.v1", {"model_uuid": "m-9", "model_name": "later"})
    await resources.world.deliver()
    assert (await resources.world.server("smol"))["actor"] == "a-operator"
    await resources.report(*AWAKE, replicas=1)
    assert resources.said() == ("True", "Serving")
    await resources.change(replicas=4)
    assert (resources.said(), resources.get()["status"]["state"]) == (("False", "InvalidToken"), "ready")
    annotations = resources.world.cluster.service("smol")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["autoscaling.knative.dev/max-scale"] == "1"


@pytest.mark.parametrize(("token", "reason"), [("guessed", "InvalidToken"), ("user", "NotAllowed")])
async def test_a_bad_token_does_nothing(resources: Resources, token: str, reason: str) -> None:
    """It does not fall back to the configured user; the message does not repeat it."""
    await resources.make(token=token)
    assert (resources.said(), token in resources.message().replace("a-user", "")) == (("False", reason), False)
    assert resources.world.cluster.names(SERVICE) == []


async def test_without_a_token_and_a_configured_user_nothing_is_done(database_url: str, tmp_path: Path) -> None:
    """Whoever may create resources in the namespace is nobody that Torpor knows."""
    async with world(database_url, tmp_path) as running:
        resources = await resources_of(running)
        await resources.make()
        assert (resources.said(), running.cluster.names(SERVICE)) == (("False", "NotAllowed"), [])
        assert "TORPOR_MODELSERVE_ACTOR" in resources.message()


async def test_a_user_who_left_asks_for_nothing(resources: Resources) -> None:
    """The configured user is looked up each time something is to be made."""
    await resources.world.db.execute("DELETE FROM users WHERE username = 'somebody'")
    await resources.make()
    assert (resources.said(), resources.world.cluster.names(SERVICE)) == (("False", "NotAllowed"), [])


async def test_made_up_events_change_nothing(resources: Resources) -> None:
    """They name what is worth a look: a resource that is there stays, one of no possible name is refused."""
    await resources.make()
    assert await resources.tell(change="delete") == [204]
    assert resources.world.cluster.names(SERVICE) == ["smol"]
    for reference in ({"name": "smol,metadata.name=x"}, {"kind": "Secret", "name": "smol"}, {}):
        named = {"apiVersion": resources.kind.api_version, "kind": "ModelServe", **reference}
        assert (await resources.world.event("dev.knative.apiserver.ref.add", named)).status_code == 400


async def test_a_cluster_without_the_definition_loses_nothing(resources: Resources) -> None:
    """Nothing is concluded from a kind that is not known: a definition may be on its way back."""
    await resources.make()
    await resources.store.delete(CUSTOM_RESOURCE_DEFINITION, "", resources.kind.key)
    assert await resources.world.tick() == 204
    await resources.world.deliver()
    assert resources.world.cluster.names(SERVICE) == ["smol"]


async def test_somebody_else_writes_the_resource_meanwhile(resources: Resources) -> None:
    """A conflict is looked at again; a fight that does not end is put off."""
    await resources.make()
    resources.world.cluster.faults = [(409, "the object has been modified")]
    assert (await resources.change(replicas=2))[0] == 204
    assert resources.get()["status"]["observedGeneration"] == 2
    resources.world.cluster.faults = [(409, "the object has been modified")] * 3
    assert (await resources.change(replicas=3))[0] == 503


@pytest.mark.parametrize("calls", range(MAKING))
async def test_killed_after_any_call(resources: Resources, calls: int) -> None:
    """While it is made and shown: the event comes again, and there is one server, one Service, and a status that knows both."""
    resources.world.api.calls_left = calls
    with pytest.raises(Killed):
        await resources.make()
    # The kill took what was being delivered along: a tick brings it back after a minute.
    await resources.world.db.execute("UPDATE server_records SET updated_at = now() - interval '1 hour'")
    await resources.tell(change="add")
    await resources.world.tick()
    await resources.world.deliver()
    rows = await resources.world.db.fetch("SELECT uuid FROM server_records WHERE status <> 'deleted'")
    assert ([row["uuid"] for row in rows], resources.world.cluster.names(SERVICE)) == (
        [resources.get()["status"]["serverUuid"]],
        ["smol"],
    )
    assert resources.said() == ("Unknown", "Deploying")


async def test_those_are_all_calls(resources: Resources) -> None:
    """Whoever would be killed after the last one lives."""
    resources.world.api.calls_left = MAKING
    await resources.make()
    resources.world.api.calls_left = DELETING
    await resources.delete()
    assert not resources.world.api.killed


@pytest.mark.parametrize("calls", range(DELETING))
async def test_killed_after_any_call_while_it_is_deleted(resources: Resources, calls: int) -> None:
    """Nothing is left behind."""
    await resources.make()
    resources.world.api.calls_left = calls
    with pytest.raises(Killed):
        await resources.delete()
    await resources.world.tick()
    await resources.world.deliver()
    assert (resources.world.cluster.names(SERVICE), await resources.world.status("smol")) == ([], ("deleted", None))
    assert await resources.world.db.fetch("SELECT name FROM modelserves") == []
