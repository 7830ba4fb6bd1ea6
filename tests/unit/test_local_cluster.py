"""Writes go through validation and admission, patches merge as Kubernetes merges, addresses name what they should."""

from collections.abc import Mapping
from typing import Any

import pytest

from kn_model.local.api import discovery as api_discovery
from kn_model.local.api.cluster import Cluster, Write
from kn_model.local.api.errors import BadRequest, NotFound
from kn_model.local.api.paths import Address, parse
from kn_model.local.api.table import age, table
from kn_model.local.objects import kinds
from kn_model.local.objects.kinds import Object
from kn_model.local.objects.storage import MemoryStorage
from kn_model.local.objects.store import ObjectStore
from kn_model.local.objects.strategic import strategic_merge


def admit(obj: Mapping[str, Any], old: Mapping[str, Any] | None = None, *, user: str) -> Object:
    """Writes down who asked and whether it is an update."""
    return dict(obj) | {"data": (obj.get("data") or {}) | {"by": user, "updates": str(old is not None)}}


def check(obj: Mapping[str, Any]) -> list[str]:
    """Knows no field `colour`."""
    return [".colour: unknown field"] if "colour" in obj else []


@pytest.fixture
async def cluster() -> Cluster:
    """A cluster with its namespaces and nothing else."""
    store = ObjectStore(MemoryStorage())
    await store.open()
    cluster = Cluster(store, admit, check)
    await cluster.prepare()
    return cluster


async def test_admission_sees_every_write(cluster: Cluster) -> None:
    """Create and patch store what admission made of the object."""
    made = await cluster.create(kinds.CONFIG_MAP, "default", {"metadata": {"name": "a"}}, Write("me"))
    assert made["data"] == {"by": "me", "updates": "False"}
    patched = await cluster.patch(
        kinds.CONFIG_MAP, "default", "a", lambda old: old | {"data": {"x": "y"}}, Write("you")
    )
    assert patched["data"] == {"x": "y", "by": "you", "updates": "True"}


async def test_unknown_fields_are_refused_or_warned_of(cluster: Cluster) -> None:
    """Strict refuses, naming the field; Warn stores and says so; Ignore is silent."""
    obj = {"metadata": {"name": "a"}, "colour": "blue"}
    with pytest.raises(BadRequest, match=r"strict decoding error: \.colour: unknown field"):
        await cluster.create(kinds.CONFIG_MAP, "default", dict(obj), Write("me", "Strict"))
    warn = Write("me", "Warn")
    await cluster.create(kinds.CONFIG_MAP, "default", dict(obj), warn)
    assert warn.warnings == [".colour: unknown field"]


async def test_a_dry_run_stores_nothing(cluster: Cluster) -> None:
    """It answers as if."""
    obj = {"metadata": {"name": "a"}}
    made = await cluster.create(kinds.CONFIG_MAP, "default", obj, Write("me", dry_run=True))
    assert made["data"]["by"] == "me"
    assert cluster.store.list(kinds.CONFIG_MAP) == []


async def test_an_object_needs_its_namespace(cluster: Cluster) -> None:
    """Nothing is created in a namespace that is not there, or in another than its address says."""
    with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
        await cluster.create(kinds.CONFIG_MAP, "nowhere", {"metadata": {"name": "a"}}, Write("me"))
    elsewhere = {"metadata": {"name": "a", "namespace": "other"}}
    with pytest.raises(BadRequest, match="does not match"):
        await cluster.create(kinds.CONFIG_MAP, "default", elsewhere, Write("me"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/namespaces", Address(kinds.NAMESPACE)),
        ("/api/v1/namespaces/torpor", Address(kinds.NAMESPACE, "", "torpor")),
        ("/api/v1/namespaces/torpor/secrets/x", Address(kinds.SECRET, "torpor", "x")),
        ("/apis/serving.knative.dev/v1/services", Address(kinds.SERVICE)),
        ("/apis/serving.knative.dev/v1/namespaces/n/services/s/status", Address(kinds.SERVICE, "n", "s", "status")),
        ("/apis/batch/v1/namespaces/n/jobs", Address(kinds.JOB, "n")),
    ],
)
def test_paths_are_addresses(path: str, expected: Address) -> None:
    """Every form of a resource path names kind, namespace, object and part."""
    assert parse(path) == expected


@pytest.mark.parametrize("path", ["/", "/api/v2/pods", "/apis/serving.knative.dev/v2/services", "/api/v1/lemons", "/x"])
def test_other_paths_are_not_found(path: str) -> None:
    """In words that kn and kubectl know."""
    with pytest.raises(NotFound, match="the server could not find the requested resource"):
        parse(path)


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": None, "c": 3}, {"b": 2, "c": 3}),
        ({"l": [1, 2]}, {"l": [3]}, {"l": [3]}),
        (
            {"c": [{"name": "a", "x": 1}, {"name": "b", "x": 1}]},
            {"$setElementOrder/c": [{"name": "b"}, {"name": "a"}], "c": [{"name": "b", "y": 2}]},
            {"c": [{"name": "b", "x": 1, "y": 2}, {"name": "a", "x": 1}]},
        ),
        (
            {"c": [{"name": "a"}, {"name": "b"}]},
            {"$setElementOrder/c": [{"name": "b"}], "c": [{"$patch": "delete", "name": "a"}]},
            {"c": [{"name": "b"}]},
        ),
        ({"a": {"x": 1}}, {"a": {"$patch": "replace", "y": 2}}, {"a": {"y": 2}}),
        ({"a": {"x": 1, "y": 1}}, {"a": {"$retainKeys": ["y"], "y": 2}}, {"a": {"y": 2}}),
        ({"l": ["a", "b"]}, {"$deleteFromPrimitiveList/l": ["a"]}, {"l": ["b"]}),
    ],
    ids=["merge", "atomic list", "keyed list", "delete from list", "replace", "retain keys", "primitives"],
)
def test_strategic_merge(target: Any, patch: Any, expected: Any) -> None:
    """The directives that kubectl sends are followed and do not stay in the object."""
    assert strategic_merge(target, patch) == expected


def test_discovery_names_every_kind_once() -> None:
    """Both answers of aggregated discovery together hold all kinds."""
    found = [
        resource["responseKind"]["kind"]
        for core in (True, False)
        for group in api_discovery.aggregated(kinds.BUILT_IN, core=core)["items"]
        for version in group["versions"]
        for resource in version["resources"]
    ]
    assert sorted(found) == sorted(kind.kind for kind in kinds.BUILT_IN)


def test_tables_have_a_cell_for_each_column() -> None:
    """A half-made object, as the first watch event brings it, is a row as well."""
    bare = {"metadata": {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}}
    for kind in kinds.BUILT_IN:
        made = table(kind, [bare], {})
        assert len(made["rows"][0]["cells"]) == len(made["columnDefinitions"]), kind


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (192, "3m12s"), (660, "11m"), (10_800, "3h"), (172_800, "2d")],
)
def test_ages_read_as_kubectls(seconds: int, expected: str) -> None:
    """The AGE column."""
    assert age(seconds) == expected
