"""Brokers, Triggers and sources as values: who gets what, and what sources send."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from kn_model.local.addresses import Addresses
from kn_model.local.eventing import source_events
from kn_model.local.eventing.source_events import Change
from kn_model.local.eventing.subscriptions import destination, table
from kn_model.local.objects import kinds

HERE = Addresses(front="http://front", kube="http://kube")
SERVICE = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "serve"}
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"namespace": "torpor", "name": name}, "spec": spec}


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ({"ref": SERVICE}, "http://serve.torpor.svc.cluster.local"),
        ({"ref": SERVICE, "uri": "/events"}, "http://serve.torpor.svc.cluster.local/events"),
        ({"ref": SERVICE | {"namespace": "other"}}, "http://serve.other.svc.cluster.local"),
        ({"uri": "http://127.0.0.1:1/x"}, "http://127.0.0.1:1/x"),
        (
            {"ref": {"kind": "Broker", "name": "default"}},
            "http://broker-ingress.knative-eventing.svc.cluster.local/torpor/default",
        ),
    ],
)
def test_destinations_are_cluster_addresses(target: dict[str, Any], url: str) -> None:
    """A ref is an address, a relative uri its path, an absolute one itself."""
    assert destination(target, "torpor") == url


def test_a_table_has_every_broker_with_its_triggers() -> None:
    """A trigger of a broker that does not exist gets nothing; addresses are those of this machine."""
    triggers = [
        _object("Trigger", "one", {"broker": "default", "subscriber": {"ref": SERVICE, "uri": "/events"}}),
        _object("Trigger", "two", {"broker": "gone", "subscriber": {"ref": SERVICE}}),
    ]
    found = table([_object("Broker", "default", {}), _object("Broker", "empty", {})], triggers, HERE)
    assert {broker: [(each.key, each.subscriber) for each in row] for broker, row in found.items()} == {
        "torpor/default": [("torpor/one", "http://front/_svc/torpor/serve/events")],
        "torpor/empty": [],
    }


def test_a_tick_is_knatives_ping() -> None:
    """Type, source, data and added extensions are those of a cluster's PingSource."""
    spec = {"contentType": "application/json", "data": "{}", "ceOverrides": {"extensions": {"actor": "clock"}}}
    event = source_events.stamped(source_events.ping(_object("PingSource", "tick", spec)), "7", NOW)
    assert event.data == b"{}"
    assert event.attributes == {
        "specversion": "1.0",
        "id": "7",
        "source": "/apis/v1/namespaces/torpor/pingsources/tick",
        "type": "dev.knative.sources.ping",
        "time": "2026-01-02T03:04:05Z",
        "datacontenttype": "application/json",
        "actor": "clock",
    }


@pytest.mark.parametrize(
    ("spec", "due"),
    [
        ({"schedule": "* * * * *"}, datetime(2026, 1, 2, 3, 5, tzinfo=UTC)),
        ({"schedule": "*/10 * * * * *"}, datetime(2026, 1, 2, 3, 4, 10, tzinfo=UTC)),
        ({"schedule": "0 5 * * *", "timezone": "Europe/Berlin"}, datetime(2026, 1, 2, 4, 0, tzinfo=UTC)),
    ],
)
def test_ticks_follow_the_schedule(spec: dict[str, Any], due: datetime) -> None:
    """Five fields, six with seconds first, in the timezone asked for."""
    assert source_events.next_tick(spec, NOW) == due


def test_a_change_carries_the_whole_object() -> None:
    """As an ApiServerSource in mode Resource sends it."""
    revision = {"metadata": {"namespace": "torpor", "name": "smol-00001"}, "status": {"x": 1}}
    seen = Change(kinds.REVISION, "MODIFIED", revision)
    event = source_events.change(_object("ApiServerSource", "servers", {"mode": "Resource"}), seen, "http://kube")
    assert json.loads(event.data or b"") == revision
    assert event.attributes == {
        "specversion": "1.0",
        "source": "http://kube",
        "type": "dev.knative.apiserver.resource.update",
        "subject": "/apis/serving.knative.dev/v1/namespaces/torpor/revisions/smol-00001",
        "datacontenttype": "application/json",
        "apiversion": "serving.knative.dev/v1",
        "kind": "Revision",
        "name": "smol-00001",
        "namespace": "torpor",
    }


def test_a_change_may_carry_the_name_alone() -> None:
    """In mode Reference nothing of the object gets into an event: it may hold a credential."""
    revision = {"metadata": {"namespace": "torpor", "name": "smol-00001", "annotations": {"token": "s3cret"}}}
    seen = Change(kinds.REVISION, "DELETED", revision)
    event = source_events.change(_object("ApiServerSource", "servers", {"mode": "Reference"}), seen, "http://kube")
    assert event.attributes["type"] == "dev.knative.apiserver.ref.delete"
    assert json.loads(event.data or b"") == {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Revision",
        "name": "smol-00001",
        "namespace": "torpor",
    }


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (None, ""),
        ({"matchLabels": {"a": "b"}}, "a=b"),
        ({"matchExpressions": [{"key": "k", "operator": "Exists"}, {"key": "n", "operator": "DoesNotExist"}]}, "k,!n"),
        ({"matchExpressions": [{"key": "k", "operator": "In", "values": ["a", "b"]}]}, "k in (a,b)"),
        ({"matchExpressions": [{"key": "k", "operator": "NotIn", "values": ["a"]}]}, "k notin (a)"),
    ],
)
def test_selectors_have_a_one_line_form(labels: dict[str, Any] | None, text: str) -> None:
    """What a manifest writes as an object, a watch takes as a line."""
    assert source_events.selector(labels) == text
