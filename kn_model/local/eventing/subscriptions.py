"""Who gets which event: Brokers and Triggers as the table that the broker works from. Pure.

Called by the broker whenever a Broker or Trigger changes. Source: Knative Eventing 1.23, `pkg/reconciler/broker`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

from kn_model.local.addresses import Addresses
from kn_model.local.eventing.delivery import Delivery, effective
from kn_model.local.eventing.filters import Filter, wanted
from kn_model.local.objects.kinds import Object


@dataclass(frozen=True, slots=True)
class Subscription:
    """One Trigger in force. Addresses are those of this machine."""

    key: str
    broker: str
    subscriber: str
    delivery: Delivery
    dead_letter: str | None
    wants: Filter = field(compare=False)
    # What `wants` was made of: two subscriptions are the same when their specs are.
    spec: Mapping[str, Any] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """The Trigger's."""
        return self.key.partition("/")[0]


Table = Mapping[str, Sequence[Subscription]]
"""Subscriptions by broker, `namespace/name`; a broker without triggers has an empty row."""


def table(brokers: Iterable[Object], triggers: Iterable[Object], addresses: Addresses) -> Table:
    """Every broker with the triggers that name it. A trigger without its broker waits until it comes."""
    known = {key(broker): broker for broker in brokers}
    rows: dict[str, list[Subscription]] = {name: [] for name in known}
    for trigger in triggers:
        broker = broker_of(trigger)
        if broker in known:
            rows[broker].append(subscription(known[broker], trigger, addresses))
    return rows


def broker_of(trigger: Object) -> str:
    """The broker that a trigger listens to: one of its own namespace."""
    return f"{trigger['metadata']['namespace']}/{trigger['spec']['broker']}"


def subscription(broker: Object, trigger: Object, addresses: Addresses) -> Subscription:
    """One Trigger with its Broker's settings."""
    namespace, spec = trigger["metadata"]["namespace"], trigger["spec"]
    delivery = effective((broker.get("spec") or {}).get("delivery"), spec.get("delivery"))
    sink = delivery.dead_letter_sink
    return Subscription(
        key=key(trigger),
        broker=key(broker),
        subscriber=addresses.here(destination(spec["subscriber"], namespace)),
        delivery=delivery,
        dead_letter=None if sink is None else addresses.here(destination(sink, namespace)),
        wants=wanted(spec),
        spec=spec,
    )


def destination(target: Mapping[str, Any], namespace: str) -> str:
    """The cluster URL of a `{ref, uri}`: a ref's address, with a relative uri resolved against it."""
    ref = target.get("ref")
    if ref is None:
        return str(target["uri"])
    base = address(ref["kind"], ref.get("namespace", namespace), ref["name"])
    return urljoin(base, str(target.get("uri", "")))


def address(kind: str, namespace: str, name: str) -> str:
    """The cluster URL of a Broker, a Knative Service or a Kubernetes Service."""
    if kind == "Broker":
        return f"http://broker-ingress.knative-eventing.svc.cluster.local/{namespace}/{name}"
    return f"http://{name}.{namespace}.svc.cluster.local"


def key(obj: Object) -> str:
    """`namespace/name`: how brokers and triggers are named here and in the ledger."""
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
