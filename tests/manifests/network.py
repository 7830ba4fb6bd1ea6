"""Who may connect to whom, as NetworkPolicies say. Pure.

Source: `networking.k8s.io/v1` NetworkPolicy: a pod that no policy of a direction selects is open in that direction, one
that is selected is open for what any of them allows; a connection needs both ends.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Policy = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Peer:
    """One end: a pod by namespace and labels, or an address outside the pod network."""

    name: str
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = ""


def connects(policies: Sequence[Policy], source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
    """Whether `source` may open a connection to `port` of `target`."""
    where = (port, protocol)
    return _open(policies, "Egress", (source, target), where) and _open(policies, "Ingress", (target, source), where)


def _open(policies: Sequence[Policy], direction: str, ends: tuple[Peer, Peer], where: tuple[int, str]) -> bool:
    """Whether the first of the two ends is open for the second in this direction."""
    at, other = ends
    chosen = [each for each in policies if direction in each["spec"]["policyTypes"] and _concerns(each, at)]
    if not chosen:
        return True
    rules = [rule for each in chosen for rule in each["spec"].get(direction.lower(), ())]
    peers = "to" if direction == "Egress" else "from"
    return any(_ports(rule.get("ports"), where) and _peers(rule.get(peers), other, at) for rule in rules)


def _concerns(policy: Policy, peer: Peer) -> bool:
    return peer.namespace == policy["metadata"]["namespace"] and selects(policy["spec"]["podSelector"], peer.labels)


def _ports(ports: Iterable[Mapping[str, Any]] | None, where: tuple[int, str]) -> bool:
    if not ports:
        return True
    return any((each.get("port", where[0]), each.get("protocol", "TCP")) == where for each in ports)


def _peers(peers: Sequence[Mapping[str, Any]] | None, other: Peer, at: Peer) -> bool:
    return not peers or any(_is(peer, other, at.namespace) for peer in peers)


def _is(peer: Mapping[str, Any], other: Peer, here: str) -> bool:
    if block := peer.get("ipBlock"):
        return bool(other.address) and _in(block, other.address)
    if other.address:
        return False
    namespace = peer.get("namespaceSelector")
    same = other.namespace == here if namespace is None else selects(namespace, _namespace_labels(other.namespace))
    return same and selects(peer.get("podSelector") or {}, other.labels)


def _in(block: Mapping[str, Any], address: str) -> bool:
    inside = ip_address(address) in ip_network(block["cidr"])
    return inside and not any(ip_address(address) in ip_network(each) for each in block.get("except", ()))


def _namespace_labels(name: str) -> Mapping[str, str]:
    """What every cluster puts there by itself."""
    return {"kubernetes.io/metadata.name": name}


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """A label selector; an empty one selects everything."""
    exact = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return exact and all(_holds(each, labels) for each in selector.get("matchExpressions", ()))


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values", ())
    meanings = {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }
    return meanings[expression["operator"]]
