"""The event wiring: every Trigger is complete, its type exists, somebody answers, and the times fit together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from functions.kit import events
from kn_model.local.admission.formats import iso_period

Object = dict[str, Any]
ROOT = Path(__file__).parents[2]
TRIGGERS = sorted((ROOT / "eventing" / "triggers").glob("*.yaml"))
DELIVERY = {"retry", "backoffPolicy", "backoffDelay", "timeout", "deadLetterSink"}
# What Knative's own sources send.
FOREIGN = {events.TICK, *events.RESOURCE_CHANGES, *events.REFERENCE_CHANGES}


def known_types() -> set[str]:
    """Every type that somebody emits."""
    return {kind.TYPE for kind in events.Event.__subclasses__()} | FOREIGN


def of_kind(objects: Sequence[Object], kind: str, api: str = "") -> list[Object]:
    """The objects of a kind, in an API group where the kind's name is not enough."""
    return [each for each in objects if each["kind"] == kind and each["apiVersion"].startswith(api)]


def wanted_types(trigger: Object) -> set[str]:
    """The known types that pass the Trigger's one filter."""
    ((dialect, attributes),) = trigger["spec"]["filters"][0].items()
    wanted = attributes["type"]
    return {each for each in known_types() if each == wanted or (dialect == "prefix" and each.startswith(wanted))}


def deliveries(objects: Sequence[Object]) -> Mapping[str, Object]:
    """Name -> delivery of the Broker and of every Trigger."""
    senders = (*of_kind(objects, "Broker"), *of_kind(objects, "Trigger"))
    return {each["metadata"]["name"]: each["spec"]["delivery"] for each in senders}


def test_every_delivery_is_complete(objects: Sequence[Object]) -> None:
    """A Trigger's delivery replaces the Broker's whole, and retries without policy and delay come at once."""
    for name, delivery in deliveries(objects).items():
        assert delivery.keys() == DELIVERY, name


def test_dead_letters_are_kept_by_status(objects: Sequence[Object]) -> None:
    """What cannot be delivered is stored where people look."""
    for name, delivery in deliveries(objects).items():
        sink = delivery["deadLetterSink"]
        assert ("Service", "status", "/deadletters") == (sink["ref"]["kind"], sink["ref"]["name"], sink["uri"]), name


def test_subscribers_exist_and_take_events(objects: Sequence[Object]) -> None:
    """A Trigger's subscriber is one of the functions, at the path where it takes events."""
    services = {each["metadata"]["name"] for each in of_kind(objects, "Service", "serving")}
    for trigger in of_kind(objects, "Trigger"):
        subscriber = trigger["spec"]["subscriber"]
        assert subscriber["ref"]["name"] in services
        assert subscriber["uri"] == "/events"


def test_every_trigger_waits_for_a_type_that_exists(objects: Sequence[Object]) -> None:
    """A filter that nothing passes is a misspelt one."""
    for trigger in of_kind(objects, "Trigger"):
        assert wanted_types(trigger), trigger["metadata"]["name"]


def test_no_event_reaches_a_subscriber_twice(objects: Sequence[Object]) -> None:
    """Two Triggers of one function for one type would do everything twice."""
    pairs = [
        (kind, trigger["spec"]["subscriber"]["ref"]["name"])
        for trigger in of_kind(objects, "Trigger")
        for kind in wanted_types(trigger)
    ]
    assert sorted(set(pairs)) == sorted(pairs)


@pytest.mark.parametrize("path", TRIGGERS, ids=lambda path: path.stem)
def test_a_trigger_is_named_after_what_and_who(path: Path, render: Any) -> None:
    """`<what>--<who>.yaml` holds the Trigger of that name with that subscriber."""
    what, _, who = path.stem.partition("--")
    name = f"{what.replace('.', '-')}--{who}"
    trigger = next(each for each in of_kind(render("local"), "Trigger") if each["metadata"]["name"] == name)
    assert who == trigger["spec"]["subscriber"]["ref"]["name"]


def test_a_delivery_is_given_up_before_the_service_cuts_it(objects: Sequence[Object]) -> None:
    """The sender's timeout is the shorter one: what it retries has ended, so work does not overlap."""
    limits = {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]["timeoutSeconds"]
        for each in of_kind(objects, "Service", "serving")
    }
    for trigger in of_kind(objects, "Trigger"):
        timeout = iso_period(trigger["spec"]["delivery"]["timeout"])
        assert timeout is not None
        assert timeout < limits[trigger["spec"]["subscriber"]["ref"]["name"]], trigger["metadata"]["name"]


def test_the_broker_answers_before_its_subscribers_do(objects: Sequence[Object]) -> None:
    """Otherwise a chain of slices would nest inside one delivery; other Brokers do so by themselves."""
    annotations = broker(objects)["metadata"]["annotations"]
    asked = annotations.get("messaging.knative.dev/async-handler") == "true"
    assert asked == (annotations["eventing.knative.dev/broker.class"] == "MTChannelBasedBroker")


# Their Broker is the laptop's, whatever class the manifest names.
LAPTOP = {"local", "traced"}
INGRESS = {
    "MTChannelBasedBroker": "http://broker-ingress.knative-eventing.svc.cluster.local/torpor/default",
    "Kafka": "http://kafka-broker-ingress.knative-eventing.svc.cluster.local/torpor/default",
    "RabbitMQBroker": "http://default-broker-ingress.torpor.svc.cluster.local",
}


def broker(objects: Sequence[Object]) -> Object:
    """The one Broker."""
    (found,) = of_kind(objects, "Broker")
    return found


def ingress(objects: Sequence[Object]) -> str:
    """Where that Broker takes events, by its class."""
    return INGRESS[broker(objects)["metadata"]["annotations"]["eventing.knative.dev/broker.class"]]


def settings_of(objects: Sequence[Object]) -> Object:
    """The ConfigMap `torpor`."""
    (found,) = [each for each in of_kind(objects, "ConfigMap") if each["metadata"]["name"] == "torpor"]
    data: Object = found["data"]
    return data


def test_functions_send_to_the_broker_that_is_there(objects: Sequence[Object]) -> None:
    """Each class of Broker has an address of its own."""
    assert settings_of(objects)["broker-url"] == ingress(objects)


def test_rabbitmq_delivers_side_by_side(objects: Sequence[Object]) -> None:
    """Its Triggers deliver one after the other unless they are told otherwise: a slice at a time, for all downloads."""
    parallel = {
        (each["metadata"].get("annotations") or {}).get("rabbitmq.eventing.knative.dev/parallelism")
        for each in of_kind(objects, "Trigger")
    }
    rabbitmq = broker(objects)["spec"]["config"]["kind"] == "RabbitmqBrokerConfig"
    assert parallel == ({"40"} if rabbitmq else {None})


def test_sources_send_to_the_broker(objects: Sequence[Object]) -> None:
    """Ticks and changes of objects go through the same Broker as everything else."""
    sources = (*of_kind(objects, "PingSource"), *of_kind(objects, "ApiServerSource"))
    assert [("Broker", "default")] * 3 == [
        (each["spec"]["sink"]["ref"]["kind"], each["spec"]["sink"]["ref"]["name"]) for each in sources
    ]


def test_models_are_watched_as_service_and_revision(objects: Sequence[Object]) -> None:
    """Both tell parts of the story, and only those that carry the model's label."""
    (source,) = [each for each in of_kind(objects, "ApiServerSource") if each["metadata"]["name"] == "servers"]
    assert ["Service", "Revision"] == [each["kind"] for each in source["spec"]["resources"]]
    for resource in source["spec"]["resources"]:
        assert [{"key": "torpor.dev/model", "operator": "Exists"}] == resource["selector"]["matchExpressions"]


def test_a_modelserve_is_named_and_not_sent(objects: Sequence[Object]) -> None:
    """It may carry a token, which would lie in the Broker and among the dead letters."""
    (source,) = [each for each in of_kind(objects, "ApiServerSource") if each["metadata"]["name"] == "modelserves"]
    assert ("Reference", ["ModelServe"]) == (
        source["spec"]["mode"],
        [each["kind"] for each in source["spec"]["resources"]],
    )


def test_usage_goes_where_it_is_kept(overlay: str, objects: Sequence[Object]) -> None:
    """Engines have no outbox. The base Broker forgets, so status takes usage itself; the laptop's and others keep it."""
    forgets = broker(objects)["spec"]["config"]["name"] == "config-br-default-channel" and overlay not in LAPTOP
    expected = "http://status.torpor.svc.cluster.local/events" if forgets else ingress(objects)
    assert settings_of(objects)["usage-sink"] == expected
    (serve,) = [each for each in of_kind(objects, "Service") if each["metadata"]["name"] == "serve"]
    variables = {each["name"]: each for each in serve["spec"]["template"]["spec"]["containers"][0]["env"]}
    told = {"configMapKeyRef": {"name": "torpor", "key": "usage-sink"}}
    assert variables["TORPOR_USAGE_SINK"]["valueFrom"] == told
