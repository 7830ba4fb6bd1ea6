"""The trace on Kubernetes objects: it is there, it makes no revision, and the cluster's news come back to it."""

import copy
from typing import Any

import msgspec
import pytest

from functions.kit.events import RESOURCE_CHANGES, CloudEvent
from functions.serve import cluster, traces

FIRST = f"00-{'a' * 32}-{'1' * 16}-01"
SECOND = f"00-{'b' * 32}-{'2' * 16}-01"
UPDATE = RESOURCE_CHANGES[1]


def service(memory: str = "1Gi", **labels: str) -> dict[str, Any]:
    """A Knative Service, as far as merging looks at it."""
    container = {"name": "engine", "env": [{"name": "A", "value": "b"}], "memory": memory}
    return {
        "kind": "Service",
        "metadata": {"name": "smol", "labels": labels},
        "spec": {"template": {"metadata": {"annotations": {"min-scale": "0"}}, "spec": {"containers": [container]}}},
    }


def marks(obj: dict[str, Any]) -> tuple[str, str, str]:
    """The trace on the object, on its template, and in its engine's environment."""
    template = obj["spec"]["template"]
    env = {each["name"]: each["value"] for each in template["spec"]["containers"][0]["env"]}
    return traces.of_object(obj), traces.of_object(template), env.get("TRACEPARENT", "")


def test_an_object_says_which_trace_made_it() -> None:
    """On the object, on its revisions, and to the engine; the manifest that was given stays as it is."""
    plain = service()
    made = traces.marked(plain, FIRST)
    assert (FIRST, FIRST, FIRST) == marks(made)
    assert service() == plain


def test_another_trace_alone_changes_nothing() -> None:
    """A doubled event, or a tick that looks again, makes no write and so no revision."""
    stored = traces.marked(service(), FIRST)
    assert stored == cluster.merge(stored, traces.marked(service(), SECOND))


def test_an_object_from_before_traces_stays_as_it_is() -> None:
    """An upgrade alone makes no revision of every model."""
    assert service() == cluster.merge(service(), traces.marked(service(), FIRST))


def test_a_new_revision_says_which_trace_made_it() -> None:
    """The template changes anyway: it takes the new trace along."""
    stored = traces.marked(service(), FIRST)
    merged = cluster.merge(stored, traces.marked(service("2Gi"), SECOND))
    assert (SECOND, SECOND, SECOND) == marks(merged)


def test_a_change_beside_the_template_makes_no_revision() -> None:
    """The object is marked, its template is not touched."""
    stored = traces.marked(service(), FIRST)
    merged = cluster.merge(stored, traces.marked(service(team="blue"), SECOND))
    assert (SECOND, FIRST, FIRST) == marks(merged)
    assert stored["spec"] == merged["spec"]


def event(kind: str, data: object, traceparent: str = "") -> CloudEvent:
    """An event with this data."""
    extensions = {"traceparent": traceparent} if traceparent else {}
    return CloudEvent("1", "/s", kind, "", extensions, msgspec.json.encode(data))


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        (event(UPDATE, traces.marked(service(), FIRST)), FIRST),
        (event(UPDATE, service()), ""),
        (event(UPDATE, traces.marked(service(), FIRST), SECOND), FIRST),
        (event("dev.torpor.server.requested.v1", traces.marked(service(), FIRST), SECOND), SECOND),
        (event(UPDATE, {"metadata": {"annotations": {traces.ANNOTATION: 7}}}, SECOND), SECOND),
        (event(UPDATE, [], SECOND), SECOND),
    ],
)
def test_news_of_an_object_are_of_its_trace(received: CloudEvent, expected: str) -> None:
    """The ApiServerSource knows no trace; the object does. Other events say it themselves."""
    assert expected == traces.of_event(received)


def test_marking_twice_leaves_the_last() -> None:
    """One annotation and one variable, not two."""
    twice = traces.marked(copy.deepcopy(traces.marked(service(), FIRST)), SECOND)
    assert traces.marked(service(), SECOND) == twice
