"""What DNS does on a cluster, done to text: cluster addresses become addresses on this machine.

Pure. The kubelet part applies it to the env values and arguments of an instance, the reconcilers use it for the
addresses that they publish, the broker and the sources for their sinks.
"""

import re
from dataclasses import dataclass
from typing import Final

BROKER_INGRESS: Final = ("knative-eventing", "broker-ingress")
"""Namespace and name of the Service that takes events for all brokers, as on a cluster (eventing `pkg/broker`)."""

INGRESS: Final = ("kourier-system", "kourier-internal")
"""Namespace and name of the listener behind which Knative routes by host (net-kourier); here the front door does that."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# http(s)://<service>.<namespace>.svc[.cluster.local][:80|:443], and nothing of a host name after it.
_CLUSTER_URL = re.compile(
    rf"https?://(?P<service>{_LABEL})\.(?P<namespace>{_LABEL})\.svc(?:\.cluster\.local)?(?::(?:80|443))?(?![\w.:-])"
)

# `<service>.<namespace>.localhost` too: RFC 6761 names that browsers and curl take to loopback by themselves.
_CLUSTER_HOST = re.compile(
    rf"(?P<service>{_LABEL})\.(?P<namespace>{_LABEL})\.(?:svc|svc\.cluster\.local|localhost)(?::\d+)?"
)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the runtime listens: URLs without a slash at the end."""

    front: str
    kube: str

    def service(self, namespace: str, service: str, path: str = "") -> str:
        """The URL of a Knative Service, or of one of its tags (`<tag>-<service>`), for callers on this machine."""
        return f"{self.front}/_svc/{namespace}/{service}{path}"

    def broker(self, namespace: str, broker: str) -> str:
        """The URL that takes events for a broker."""
        return self.service(*BROKER_INGRESS, f"/{namespace}/{broker}")

    def here(self, text: str) -> str:
        """`text` with each cluster URL in it replaced; the rest of a URL (path, query) stays."""
        return _CLUSTER_URL.sub(self._replacement, text)

    def _replacement(self, found: re.Match[str]) -> str:
        if (found["namespace"], found["service"]) == ("default", "kubernetes"):
            return self.kube
        if (found["namespace"], found["service"]) == INGRESS:
            return self.front
        return self.service(found["namespace"], found["service"])


def cluster_host(host: str) -> tuple[str, str] | None:
    """(namespace, service) of a Host header such as `auth.torpor.svc.cluster.local[:port]`; None for any other."""
    match = _CLUSTER_HOST.fullmatch(host)
    return (match["namespace"], match["service"]) if match else None
