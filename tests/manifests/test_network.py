"""Who may connect to whom: the whole table for each way of installing, and nothing beside it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.manifests import goldens
from tests.manifests.engine import knative_service
from tests.manifests.network import Peer, connects, selects

Object = dict[str, Any]
FUNCTIONS = ("auth", "download", "serve", "status")
# Pods of others, by the labels that their projects' manifests give them (Knative 1.23, net-kourier 1.23,
# eventing-kafka-broker and eventing-rabbitmq of July 2026).
OTHERS = (
    Peer("activator", "knative-serving", {"app": "activator"}),
    Peer("kourier", "kourier-system", {"app": "3scale-kourier-gateway"}),
    Peer("mt-broker", "knative-eventing", {"eventing.knative.dev/brokerRole": "ingress"}),
    Peer("kafka-broker", "knative-eventing", {"app": "kafka-broker-receiver"}),
    Peer("rabbitmq", "rabbitmq", {"app.kubernetes.io/name": "rabbitmq"}),
    Peer("dns", "kube-system", {"k8s-app": "kube-dns"}),
    Peer("stranger", "default", {"app": "stranger"}),
    Peer("api server", address="10.0.0.1"),
    Peer("internet", address="203.0.113.7"),
    Peer("inside", address="10.9.9.9"),
    Peer("metadata", address="169.254.169.254"),
    Peer("database", address="10.20.0.5"),
    Peer("bucket", address="10.20.1.3"),
)
RABBITMQ_PODS = (
    Peer(
        "broker ingress",
        "torpor",
        {"eventing.knative.dev/broker": "default", "eventing.knative.dev/brokerRole": "ingress"},
    ),
    Peer(
        "dispatcher",
        "torpor",
        {"eventing.knative.dev/broker": "default", "eventing.knative.dev/brokerRole": "dispatcher"},
    ),
)
SOURCE = Peer("object source", "torpor", {"eventing.knative.dev/source": "apiserver-source-controller"})
# Every port that anybody listens at, and some where nobody should.
PORTS = (53, 80, 443, 5432, 5672, 6443, 8012, 8080, 8081, 8333, 9333, 18888)


def pods(name: str) -> Iterator[Peer]:
    """The pods of a render, and a model's."""
    for each in (*goldens.rendered(name), knative_service("vllm-cpu")):
        template = each.get("spec", {}).get("template")
        if template:
            labels = dict(template["metadata"]["labels"])
            if each["apiVersion"].startswith("serving.knative.dev/"):
                labels["serving.knative.dev/service"] = each["metadata"]["name"]
            who = "engine" if "torpor.dev/server" in labels else labels["app.kubernetes.io/name"]
            yield Peer(who, "torpor", labels)


def policies(name: str) -> list[Object]:
    """The NetworkPolicies of a render."""
    return [each for each in goldens.rendered(name) if each["kind"] == "NetworkPolicy"]


def table(name: str, ours: tuple[Peer, ...]) -> set[tuple[str, str, int]]:
    """(who, to whom, port) of every connection that is allowed and touches one of our pods."""
    rules, everybody = policies(name), (*ours, *OTHERS)
    return {
        (source.name, target.name, port)
        for source in everybody
        for target in everybody
        for port in PORTS
        if source is not target and (source in ours or target in ours)
        if connects(rules, source, target, port, "UDP" if port == 53 else "TCP")
    }


def common() -> set[tuple[str, str, int]]:
    """What holds everywhere."""
    served = (*FUNCTIONS, "engine")
    return {
        *(("activator", who, 8012) for who in served),
        *(("kourier", who, 8012) for who in served),
        *((who, "kourier", 8081) for who in served if who != "auth"),
        *((who, "internet", 443) for who in ("download", "serve")),
        *(
            (who, address, 6443)
            for who in ("serve", "setup", "object source")
            for address in ("api server", "internet", "inside", "metadata", "database", "bucket")
        ),
    }


def named(ours: tuple[Peer, ...]) -> set[tuple[str, str, int]]:
    """Names are for everybody who calls anybody."""
    return {(who.name, "dns", 53) for who in ours}


USES_S3 = ("download", "serve", "status", "engine")
USES_POSTGRES = (*FUNCTIONS, "setup")
EMITS = ("download", "serve", "status")


def test_dev() -> None:
    """Database and bucket are pods here, the Broker is Knative's own, and usage goes to status."""
    ours = (*pods("dev"), SOURCE)
    expected = {
        *((who, "postgres", 5432) for who in USES_POSTGRES),
        *((who, "seaweedfs", 8333) for who in USES_S3),
        *((who, "mt-broker", 8080) for who in (*EMITS, "object source")),
    }
    assert table("dev", ours) == expected | common() | named(ours)


@pytest.mark.parametrize("name", ["kafka-gateway-api", "kafka-kourier"])
def test_kafka(name: str) -> None:
    """Database and bucket are addresses; the Broker is Kafka's receiver, and engines send usage to it."""
    ours = (*pods(name), SOURCE)
    expected = {
        *((who, "database", 5432) for who in USES_POSTGRES),
        *((who, "bucket", 443) for who in USES_S3),
        *((who, "kafka-broker", 8080) for who in (*EMITS, "engine", "object source")),
    }
    assert table(name, ours) == expected | common() | named(ours)


def test_rabbitmq() -> None:
    """The Broker's ingress and dispatchers are pods of the namespace, and bound as tightly."""
    ours = (*pods("rabbitmq-traefik"), SOURCE, *RABBITMQ_PODS)
    broker = ("broker ingress", "dispatcher")
    expected = {
        *((who, "database", 5432) for who in USES_POSTGRES),
        *((who, "bucket", 443) for who in USES_S3),
        *((who, "broker ingress", 8080) for who in (*EMITS, "engine", "object source")),
        *((eventing, pod, 8080) for eventing in ("mt-broker", "kafka-broker") for pod in broker),
        *((pod, "rabbitmq", 5672) for pod in broker),
        *((pod, "kourier", 8081) for pod in broker),
    }
    assert table("rabbitmq-traefik", ours) == expected | common() | named(ours)


def test_prod_by_itself_reaches_nobodys_database() -> None:
    """Until an installation says where they are, neither database nor bucket is reached: no address is guessed."""
    reached = {(target, port) for _, target, port in table("prod", tuple(pods("prod")))}
    assert not {("database", 5432), ("bucket", 443)} & reached


def test_those_who_have_the_keys_reach_the_lock() -> None:
    """Whoever is given S3's keys may reach S3, and nobody else may; the same for the database."""
    for container in (each for each in goldens.rendered("dev") if "template" in each.get("spec", {})):
        (only,) = container["spec"]["template"]["spec"]["containers"]
        given = {variable["name"] for variable in only["env"]}
        if only["name"] in (*FUNCTIONS, "setup"):
            assert ("TORPOR_S3_SECRET_KEY" in given) == (only["name"] in USES_S3), only["name"]
            assert ("TORPOR_DATABASE_URL" in given) == (only["name"] in USES_POSTGRES), only["name"]


NOBODY = Peer("a", "torpor", {"app": "a"})
DENY: Object = {"metadata": {"namespace": "torpor"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}}


def allow(**rule: Any) -> Object:
    """A policy for every pod of the namespace with one rule for what goes out."""
    return {**DENY, "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [rule]}}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], True),
        ([DENY], False),
        ([DENY, allow()], True),
        ([DENY, allow(ports=[{"port": 80}])], True),
        ([DENY, allow(ports=[{"port": 81}])], False),
        ([DENY, allow(ports=[{"port": 80, "protocol": "UDP"}])], False),
        ([DENY, allow(to=[{"podSelector": {}}])], False),
        ([DENY, allow(to=[{"ipBlock": {"cidr": "10.0.0.0/8"}}])], True),
        ([DENY, allow(to=[{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/24"]}}])], False),
    ],
)
def test_policies_are_read_as_kubernetes_does(rules: list[Object], *, expected: bool) -> None:
    """The tables above mean something: open without a policy, closed with one, open again for what another allows."""
    assert expected is connects(rules, NOBODY, Peer("address", address="10.0.0.1"), 80)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, True),
        ({"matchLabels": {"app": "a"}}, True),
        ({"matchLabels": {"app": "b"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}]}, False),
        ({"matchExpressions": [{"key": "other", "operator": "NotIn", "values": ["a"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_selectors_are_read_as_kubernetes_does(selector: Object, *, expected: bool) -> None:
    """The four operators, and a label that is missing."""
    assert expected is selects(selector, NOBODY.labels)
