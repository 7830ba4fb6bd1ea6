"""Decides where a call to the front door goes: HTTPRoutes, cluster addresses, traffic percentages. Pure.

Used by `door/frontdoor.py`. Matching follows the Gateway API: an exact path before a regular expression before a longer
prefix before a shorter one, then a route that names the method, then the older route (gateway-api
`apis/v1/httproute_types.go`, HTTPRouteRule.Matches; where expressions stand is left to the implementation: as Envoy's do).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kn_model.local.addresses import cluster_host

SERVICE_PREFIX: Final = "/_svc/"
"""Cluster addresses on this machine: `/_svc/<namespace>/<service>/...` (see `addresses.py`)."""
_ORDER: Final = ("Exact", "RegularExpression", "PathPrefix")


@dataclass(frozen=True, slots=True)
class Backend:
    """A Knative Service (or tag of one) and the raw path and query that it gets."""

    namespace: str
    service: str
    path: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One match of an HTTPRoute with what follows from it."""

    hostnames: tuple[str, ...]
    path: str
    kind: str
    """PathPrefix, Exact or RegularExpression."""
    method: str | None
    headers: Mapping[str, str]
    namespace: str
    service: str
    replacement: str | None
    """What stands in for the matched prefix; None leaves the path as it is."""
    full_path: str | None
    created: str

    def takes(self, host: str, path: str, method: str, headers: Mapping[str, str]) -> bool:
        """Whether a call matches. `path` is without query."""
        return (
            (not self.hostnames or any(_same_host(pattern, host) for pattern in self.hostnames))
            and self._takes_path(path)
            and self.method in (None, method)
            and all(headers.get(name) == value for name, value in self.headers.items())
        )

    def _takes_path(self, path: str) -> bool:
        if self.kind == "RegularExpression":
            return re.fullmatch(self.path, path) is not None
        return path == self.path if self.kind == "Exact" else _under(self.path, path)

    def rewritten(self, path: str) -> str:
        """The path that the service sees."""
        if self.full_path is not None:
            return self.full_path
        if self.replacement is None:
            return path
        rest = path[len(self.path.rstrip("/")) :]
        joined = self.replacement.rstrip("/") + rest
        return joined if joined.startswith("/") else "/" + joined


def rules(http_routes: Iterable[Mapping[str, Any]]) -> Sequence[Rule]:
    """All rules in the order in which they are tried."""
    found = [rule for route in http_routes for rule in _rules_of(route)]
    return sorted(
        found,
        key=lambda rule: (
            _ORDER.index(rule.kind),
            -len(rule.path),
            rule.method is None,
            -len(rule.headers),
            rule.created,
            rule.service,
        ),
    )


def match(ordered: Sequence[Rule], host: str, target: str, method: str, headers: Mapping[str, str]) -> Backend | None:
    """Where the first matching rule leads; `target` is the raw path with its query."""
    path, mark, query = target.partition("?")
    for rule in ordered:
        if rule.takes(host, path, method, headers):
            return Backend(rule.namespace, rule.service, rule.rewritten(path) + mark + query)
    return None


def cluster_path(target: str) -> Backend | None:
    """`/_svc/<namespace>/<service>/<rest>` taken apart; None for other paths."""
    if not target.startswith(SERVICE_PREFIX):
        return None
    path, mark, query = target[len(SERVICE_PREFIX) :].partition("?")
    namespace, _, rest = path.partition("/")
    service, _, rest = rest.partition("/")
    return Backend(namespace, service, f"/{rest}{mark}{query}") if namespace and service else None


@dataclass(frozen=True, slots=True)
class Share:
    """A revision and the percentage of a service's calls that it takes."""

    revision: str
    percent: int


def choose(shares: Sequence[Share], roll: float) -> str | None:
    """The revision for a roll of the dice in [0, 100); None when nothing takes calls."""
    for share in shares:
        if roll < share.percent:
            return share.revision
        roll -= share.percent
    return None


def _rules_of(route: Mapping[str, Any]) -> Iterable[Rule]:
    spec = route["spec"]
    for rule in spec.get("rules") or []:
        rewrite: Mapping[str, Any] = next(
            (each["urlRewrite"] for each in rule.get("filters") or [] if each["type"] == "URLRewrite"), {}
        )
        destination = _destination(rewrite, rule, route["metadata"]["namespace"])
        if destination is None:
            continue
        path_rewrite = rewrite.get("path") or {}
        for each in rule.get("matches") or [{}]:
            path = each.get("path") or {}
            if path.get("type") == "RegularExpression" and not _is_expression(path["value"]):
                # A gateway would not accept the route; here it leads nowhere.
                continue
            yield Rule(
                hostnames=tuple(spec.get("hostnames") or ()),
                path=path.get("value", "/"),
                kind=path.get("type", "PathPrefix"),
                method=each.get("method"),
                headers={header["name"].lower(): header["value"] for header in each.get("headers") or []},
                namespace=destination[0],
                service=destination[1],
                replacement=path_rewrite.get("replacePrefixMatch"),
                full_path=path_rewrite.get("replaceFullPath"),
                created=route["metadata"].get("creationTimestamp", ""),
            )


def _destination(rewrite: Mapping[str, Any], rule: Mapping[str, Any], namespace: str) -> tuple[str, str] | None:
    """The service that the rewritten Host names, since the backend is the ingress; else the backend itself."""
    if named := cluster_host(rewrite.get("hostname", "")):
        return named
    backends = rule.get("backendRefs") or []
    return (backends[0].get("namespace", namespace), backends[0]["name"]) if backends else None


def _under(prefix: str, path: str) -> bool:
    """Prefixes match whole segments: `/a` takes `/a` and `/a/b`, not `/ab`."""
    stem = prefix.rstrip("/")
    return path == stem or path.startswith(stem + "/")


def _is_expression(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def _same_host(pattern: str, host: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern
