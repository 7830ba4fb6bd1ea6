"""Manifests become objects; what nobody applied stays."""

from typing import Any

import pytest

from kn_model.local import generated_secrets, render
from kn_model.local.apply import ManifestError, apply, checked, ensure, prune
from kn_model.local.objects import kinds
from kn_model.local.objects.storage import MemoryStorage
from kn_model.local.objects.store import ObjectStore


@pytest.fixture
async def store() -> ObjectStore:
    """An empty store in memory."""
    made = ObjectStore(MemoryStorage())
    await made.open()
    return made


def _config(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "torpor", "name": name}, "data": data}


def _job(image: str) -> dict[str, Any]:
    spec = {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"namespace": "torpor", "name": "j"}, "spec": spec}


async def test_an_unchanged_manifest_changes_nothing(store: ObjectStore) -> None:
    """What somebody changed by hand stays until the manifest changes."""
    await apply(store, [_config("a", x="1")])
    await store.merge_patch(kinds.CONFIG_MAP, "torpor", "a", {"data": {"x": "by hand"}})
    await apply(store, [_config("a", x="1")])
    by_hand = store.get(kinds.CONFIG_MAP, "torpor", "a")["data"]
    await apply(store, [_config("a", x="2")])
    assert (by_hand, store.get(kinds.CONFIG_MAP, "torpor", "a")["data"]) == ({"x": "by hand"}, {"x": "2"})


async def test_pruning_takes_only_what_was_applied(store: ObjectStore) -> None:
    """An object that left the manifests goes; one that people or functions made stays."""
    await apply(store, [_config("left"), _config("stays")])
    await store.create(_config("made by a function"))
    await prune(store, [_config("stays")])
    names = [each["metadata"]["name"] for each in store.list(kinds.CONFIG_MAP)]
    assert names == ["made by a function", "stays"]


async def test_a_changed_job_runs_again(store: ObjectStore) -> None:
    """A Job's template cannot be changed, so it is another Job."""
    await apply(store, [_job("one")])
    before = store.get(kinds.JOB, "torpor", "j")["metadata"]["uid"]
    await apply(store, [_job("one")])
    same = store.get(kinds.JOB, "torpor", "j")["metadata"]["uid"]
    await apply(store, [_job("two")])
    after = store.get(kinds.JOB, "torpor", "j")["metadata"]["uid"]
    assert (same == before, after == before) == (True, False)


async def test_the_keys_of_events_are_made_once(store: ObjectStore) -> None:
    """Each another one; a new start keeps them, since what is on its way is signed with them."""
    await ensure(store, generated_secrets.events(), renew=False)
    first = store.get(kinds.SECRET, "torpor", "torpor-events")["data"]
    await ensure(store, generated_secrets.events(), renew=False)
    again = store.get(kinds.SECRET, "torpor", "torpor-events")["data"]
    assert (sorted(first), len(set(first.values())), again) == (["engines", "functions"], 2, first)


async def test_generated_secrets_leave_those_of_people_alone(store: ObjectStore) -> None:
    """Our own addresses are kept true, our key is kept, a person's Secret is the person's."""
    await ensure(store, generated_secrets.auth(), renew=False)
    key = store.get(kinds.SECRET, "torpor", "torpor-auth")["data"]
    await ensure(store, generated_secrets.auth(), renew=False)
    await ensure(store, generated_secrets.postgres("old"), renew=True)
    await ensure(store, generated_secrets.postgres("new"), renew=True)
    by_hand = generated_secrets.postgres("by hand")
    by_hand["metadata"] = {"namespace": "torpor", "name": "torpor-s3"}
    await store.create(by_hand)
    await ensure(store, {**generated_secrets.postgres("ours"), "metadata": by_hand["metadata"]}, renew=True)
    found = {each["metadata"]["name"]: each["data"] for each in store.list(kinds.SECRET)}
    assert found == {
        "torpor-auth": key,
        "torpor-postgres": generated_secrets.postgres("new")["data"],
        "torpor-s3": by_hand["data"],
    }


def test_unsupported_fields_are_named_with_their_object() -> None:
    """All problems at once, each with kind, name and field."""
    service = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "auth", "namespace": "torpor"},
        "spec": {"template": {"spec": {"hostNetwork": True, "containers": [{"image": "x", "command": ["y"]}]}}},
    }
    with pytest.raises(ManifestError, match=r"Service/auth: spec\.template\.spec\.hostNetwork"):
        checked([service])


def test_what_others_refer_to_comes_first() -> None:
    """Namespaces, accounts, Secrets and ConfigMaps, then Jobs, then the rest."""
    broker = {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Broker",
        "metadata": {"name": "default", "namespace": "torpor"},
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "torpor"}}
    found = [each["kind"] for each in checked([broker, _config("a"), namespace])]
    assert found == ["Namespace", "ConfigMap", "Broker"]


def test_values_of_this_run_go_into_the_config_map() -> None:
    """`--set key=value` replaces one value and leaves the others and other maps."""
    text = "kind: ConfigMap\nmetadata: {name: torpor}\ndata: {a: x, b: y}\n---\nkind: Job\nmetadata: {name: torpor}\n"
    found = render.configured(render.parse(text), {"a": "z"})
    assert found[0]["data"] == {"a": "z", "b": "y"}
    assert "data" not in found[1]
