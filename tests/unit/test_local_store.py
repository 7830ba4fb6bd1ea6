"""The object store behaves as a Kubernetes API server does where clients can tell."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kn_model.local.api.errors import AlreadyExists, Conflict, Gone, NotFound
from kn_model.local.objects import kinds
from kn_model.local.objects.history import HISTORY, WatchEvent
from kn_model.local.objects.storage import MemoryStorage
from kn_model.local.objects.store import ObjectStore


def config_map(name: str, **metadata: Any) -> dict[str, Any]:
    """A small object without status."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "torpor"} | metadata,
        "data": {"key": "value"},
    }


def trigger(name: str, **metadata: Any) -> dict[str, Any]:
    """A small object with status and generation."""
    return {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Trigger",
        "metadata": {"name": name, "namespace": "torpor"} | metadata,
        "spec": {"broker": "default"},
    }


@pytest.fixture
async def store() -> ObjectStore:
    """An open store that forgets everything."""
    store = ObjectStore(MemoryStorage())
    await store.open()
    return store


async def take(events: AsyncIterator[WatchEvent], count: int) -> list[tuple[str, str]]:
    """The next changes as (type, name)."""
    seen: list[tuple[str, str]] = []
    for _ in range(count):
        event = await asyncio.wait_for(anext(events), 5)
        seen.append((event.type, event.obj["metadata"]["name"]))
    return seen


async def test_create_fills_what_a_server_fills(store: ObjectStore) -> None:
    """A new object has a uid, a time, a version and, when its kind has a status, generation 1."""
    metadata = (await store.create(trigger("a")))["metadata"]
    assert (metadata["generation"], metadata["resourceVersion"]) == (1, str(store.revision))
    assert metadata["uid"]
    assert metadata["creationTimestamp"].endswith("Z")


async def test_a_name_is_taken_once(store: ObjectStore) -> None:
    """A second create of the same name is refused, and names the object in its details."""
    await store.create(config_map("a"))
    with pytest.raises(AlreadyExists) as refused:
        await store.create(config_map("a"))
    assert refused.value.details == {"name": "a", "kind": "configmaps"}


async def test_only_a_change_of_spec_is_a_new_generation(store: ObjectStore) -> None:
    """Labels and status leave the generation alone; the spec moves it by one."""
    obj = await store.create(trigger("a"))
    obj["metadata"]["labels"] = {"x": "y"}
    obj = await store.update(obj)
    obj = await store.update_status(obj | {"status": {"ready": True}})
    assert obj["metadata"]["generation"] == 1
    obj["spec"]["broker"] = "other"
    assert (await store.update(obj))["metadata"]["generation"] == 2


async def test_status_and_spec_are_written_apart(store: ObjectStore) -> None:
    """A write to the object cannot change its status, and a write to its status nothing else."""
    obj = await store.create(trigger("a"))
    obj = await store.update_status(obj | {"status": {"ready": True}, "spec": {"broker": "lost"}})
    assert obj["spec"] == {"broker": "default"}
    obj = await store.update(obj | {"status": {"ready": False}, "spec": {"broker": "kept"}})
    assert (obj["spec"], obj["status"]) == ({"broker": "kept"}, {"ready": True})


async def test_a_stale_writer_is_refused(store: ObjectStore) -> None:
    """Of two writers who read the same version, the second gets Conflict; without a version, no check is made."""
    first = await store.create(config_map("a"))
    await store.update(first | {"data": {"key": "new"}})
    with pytest.raises(Conflict):
        await store.update(first | {"data": {"key": "lost"}})
    del first["metadata"]["resourceVersion"]
    assert (await store.update(first))["data"] == {"key": "value"}


async def test_a_write_that_changes_nothing_is_none(store: ObjectStore) -> None:
    """Writing the same again keeps the version, so reconcilers do not wake each other for ever."""
    obj = await store.create(config_map("a"))
    again = await store.update(obj)
    assert again["metadata"]["resourceVersion"] == obj["metadata"]["resourceVersion"]


async def test_merge_patch_follows_rfc_7396(store: ObjectStore) -> None:
    """Null removes, objects merge, the rest replaces; a version inside the patch is a precondition."""
    await store.create(config_map("a", labels={"keep": "1", "drop": "1"}))
    patch = {"metadata": {"labels": {"drop": None, "add": "1"}}, "data": {"key": "new"}}
    obj = await store.merge_patch(kinds.CONFIG_MAP, "torpor", "a", patch)
    assert (obj["metadata"]["labels"], obj["data"]) == ({"keep": "1", "add": "1"}, {"key": "new"})
    with pytest.raises(Conflict):
        await store.merge_patch(kinds.CONFIG_MAP, "torpor", "a", {"metadata": {"resourceVersion": "1"}})


async def test_owned_objects_go_with_their_owner(store: ObjectStore) -> None:
    """Deleting an owner deletes what it owns, and what those own, and nothing else."""
    owner = await store.create(trigger("owner"))
    child = await store.create(config_map("child", ownerReferences=[{"uid": owner["metadata"]["uid"]}]))
    await store.create(config_map("grandchild", ownerReferences=[{"uid": child["metadata"]["uid"]}]))
    await store.create(config_map("stranger"))
    await store.delete(kinds.TRIGGER, "torpor", "owner")
    assert [obj["metadata"]["name"] for obj in store.list(kinds.CONFIG_MAP)] == ["stranger"]


async def test_a_namespace_takes_its_objects_along(store: ObjectStore) -> None:
    """Deleting a namespace empties it."""
    await store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "torpor"}})
    await store.create(config_map("a"))
    await store.delete(kinds.NAMESPACE, "", "torpor")
    assert store.list(kinds.CONFIG_MAP) == []


async def test_lists_select_by_label_field_and_namespace(store: ObjectStore) -> None:
    """Lists take the selectors of the Kubernetes API."""
    await store.create(config_map("a", labels={"app": "x"}))
    await store.create(config_map("b", labels={"app": "y"}))
    await store.create(config_map("c", namespace="other", labels={"app": "x"}))

    def names(namespace: str = "", **selectors: str) -> list[str]:
        return [obj["metadata"]["name"] for obj in store.list(kinds.CONFIG_MAP, namespace, **selectors)]

    assert names(labels="app=x") == ["c", "a"], "by namespace, then by name"
    assert names("torpor", labels="app in (x, y),app!=y") == ["a"]
    assert names(fields="metadata.name=b") == ["b"]
    assert names(labels="!app") == []


async def test_readers_cannot_change_the_store(store: ObjectStore) -> None:
    """What a read returns is a copy."""
    await store.create(config_map("a"))
    store.get(kinds.CONFIG_MAP, "torpor", "a")["data"]["key"] = "changed"
    assert store.get(kinds.CONFIG_MAP, "torpor", "a")["data"] == {"key": "value"}


async def test_objects_survive_a_restart() -> None:
    """A second store on the same storage has the same objects, and versions go on upwards."""
    storage = MemoryStorage()
    first = ObjectStore(storage)
    await first.open()
    kept = await first.create(trigger("kept"))
    await first.create(trigger("gone"))
    await first.delete(kinds.TRIGGER, "torpor", "gone")
    second = ObjectStore(storage, clock=lambda: 0.0)
    await second.open()
    assert second.list(kinds.TRIGGER) == [kept]
    later = await second.create(trigger("later"))
    assert int(later["metadata"]["resourceVersion"]) > int(kept["metadata"]["resourceVersion"])


async def test_a_watch_tells_what_is_there_and_what_changes(store: ObjectStore) -> None:
    """Without a version, a watch starts with everything there is."""
    obj = await store.create(trigger("a"))
    events = store.watch(kinds.TRIGGER)
    assert await take(events, 1) == [("ADDED", "a")]
    await store.update_status(obj | {"status": {"ready": True}})
    await store.create(config_map("other kind"))
    await store.delete(kinds.TRIGGER, "torpor", "a")
    assert await take(events, 2) == [("MODIFIED", "a"), ("DELETED", "a")]


async def test_a_watch_goes_on_where_it_stopped(store: ObjectStore) -> None:
    """With a version, a watch tells every later change and no earlier one."""
    await store.create(trigger("before"))
    since = store.revision
    await store.create(trigger("after"))
    assert await take(store.watch(kinds.TRIGGER, since=since), 1) == [("ADDED", "after")]


async def test_a_watch_from_a_forgotten_version_is_gone(store: ObjectStore) -> None:
    """When changes were forgotten, the watcher is told to list again instead of missing them."""
    obj = await store.create(config_map("a"))
    since = store.revision
    for number in range(HISTORY + 1):
        await store.merge_patch(kinds.CONFIG_MAP, "torpor", "a", {"data": {"key": str(number)}})
    with pytest.raises(Gone):
        await take(store.watch(kinds.CONFIG_MAP, since=since), 1)
    with pytest.raises(Gone):
        await take(store.watch(kinds.CONFIG_MAP, since=int(obj["metadata"]["resourceVersion"]) * 2), 1)


async def test_leaving_a_selection_looks_like_a_delete(store: ObjectStore) -> None:
    """A watcher with a label selector sees an object enter and leave by its labels."""
    await store.create(config_map("a"))
    events = store.watch(kinds.CONFIG_MAP, labels="app=x", since=store.revision)
    await store.merge_patch(kinds.CONFIG_MAP, "torpor", "a", {"metadata": {"labels": {"app": "x"}}})
    await store.merge_patch(kinds.CONFIG_MAP, "torpor", "a", {"metadata": {"labels": None}})
    assert await take(events, 2) == [("ADDED", "a"), ("DELETED", "a")]


async def test_missing_objects_are_named(store: ObjectStore) -> None:
    """NotFound speaks as Kubernetes does, which kn and kubectl parse."""
    with pytest.raises(NotFound) as missing:
        store.get(kinds.SERVICE, "torpor", "x")
    assert missing.value.message == 'services.serving.knative.dev "x" not found'
