"""Where the front door sends a call, and what cluster addresses become."""

from typing import Any

import pytest

from kn_model.local.addresses import Addresses, cluster_host
from kn_model.local.door.routes import Backend, Share, choose, cluster_path, match, rules

HERE = Addresses(front="http://127.0.0.1:8780", kube="https://127.0.0.1:6443")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://auth.torpor.svc.cluster.local", "http://127.0.0.1:8780/_svc/torpor/auth"),
        (
            "http://auth.torpor.svc.cluster.local/auth/verify?x=1",
            "http://127.0.0.1:8780/_svc/torpor/auth/auth/verify?x=1",
        ),
        ("http://auth.torpor.svc:80/", "http://127.0.0.1:8780/_svc/torpor/auth/"),
        (
            "http://broker-ingress.knative-eventing.svc.cluster.local/torpor/default",
            "http://127.0.0.1:8780/_svc/knative-eventing/broker-ingress/torpor/default",
        ),
        # Whatever Knative's ingress routes by host, the front door does.
        ("http://kourier-internal.kourier-system.svc.cluster.local", "http://127.0.0.1:8780"),
        ("https://kubernetes.default.svc", "https://127.0.0.1:6443"),
        ("https://kubernetes.default.svc.cluster.local:443/api", "https://127.0.0.1:6443/api"),
        ("a=http://x.y.svc, b=http://z.y.svc", "a=http://127.0.0.1:8780/_svc/y/x, b=http://127.0.0.1:8780/_svc/y/z"),
        ("http://auth.torpor.svc.cluster.local.evil.example", "http://auth.torpor.svc.cluster.local.evil.example"),
        ("http://auth.torpor.svc:8080/", "http://auth.torpor.svc:8080/"),
        ("https://huggingface.co", "https://huggingface.co"),
    ],
)
def test_cluster_addresses_become_local_ones(text: str, expected: str) -> None:
    """Every cluster URL in a text is replaced, its path and query stay, other hosts are left alone."""
    assert HERE.here(text) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("auth.torpor.svc.cluster.local", ("torpor", "auth")),
        ("auth.torpor.svc.cluster.local:8780", ("torpor", "auth")),
        ("candidate-small.torpor.localhost:8780", ("torpor", "candidate-small")),
        ("localhost:8780", None),
        ("auth.torpor.svc.cluster.local.evil.example", None),
        ("a.b.c.svc.cluster.local", None),
    ],
)
def test_hosts_name_services(host: str, expected: tuple[str, str] | None) -> None:
    """The Host header of a cluster address names namespace and service; nothing else does."""
    assert cluster_host(host) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/_svc/torpor/auth/a/b?c=d", Backend("torpor", "auth", "/a/b?c=d")),
        ("/_svc/torpor/auth", Backend("torpor", "auth", "/")),
        ("/_svc/torpor/auth?x", Backend("torpor", "auth", "/?x")),
        ("/_svc/torpor/", None),
        ("/auth", None),
    ],
)
def test_local_addresses_are_taken_apart(target: str, expected: Backend | None) -> None:
    """What `Addresses.service` puts together comes apart again, raw path and query untouched."""
    assert cluster_path(target) == expected


def route(*matches: dict[str, Any], to: str = "x", hostnames: list[str] | None = None, path: Any = None) -> Any:
    """An HTTPRoute with one rule that rewrites the Host to service `to`."""
    rewrite = {"hostname": f"{to}.torpor.svc.cluster.local"} | ({"path": path} if path else {})
    rule = {"matches": list(matches), "filters": [{"type": "URLRewrite", "urlRewrite": rewrite}]}
    metadata = {"name": to, "namespace": "torpor", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": metadata, "spec": {"rules": [rule]} | ({"hostnames": hostnames} if hostnames else {})}


def prefix(value: str, **more: Any) -> dict[str, Any]:
    """A match of a path prefix."""
    return {"path": {"type": "PathPrefix", "value": value}} | more


def goes_to(routes: list[Any], target: str, method: str = "GET", host: str = "localhost") -> tuple[str, str] | None:
    """Service and path that a call ends at."""
    found = match(rules(routes), host, target, method, {})
    return (found.service, found.path) if found else None


def test_the_most_specific_match_wins() -> None:
    """Exact before long before short, and one that names the method before one that does not."""
    routes = [
        route(prefix("/"), to="short"),
        route(prefix("/models"), to="any-method"),
        route(prefix("/models", method="GET"), to="reads"),
        route({"path": {"type": "Exact", "value": "/models/available"}}, to="exact"),
    ]
    assert goes_to(routes, "/models/available") == ("exact", "/models/available")
    assert goes_to(routes, "/models/1") == ("reads", "/models/1")
    assert goes_to(routes, "/models/1", "POST") == ("any-method", "/models/1")
    assert goes_to(routes, "/modelsX") == ("short", "/modelsX")


REDRIVE = {"path": {"type": "RegularExpression", "value": "^/letters/[0-9]+/redrive$"}, "method": "POST"}


def test_an_expression_takes_whole_paths_alone() -> None:
    """After an exact path, before any prefix; nothing may stand before or behind what it describes."""
    routes = [
        route(prefix("/letters/17/redrive/and/much/longer/than/the/expression"), to="long"),
        route(prefix("/letters", method="GET"), to="reads"),
        route(prefix("/"), to="rest"),
        route(REDRIVE, to="redrive"),
        route({"path": {"type": "Exact", "value": "/letters/1/redrive"}, "method": "POST"}, to="exact"),
    ]
    assert goes_to(routes, "/letters/17/redrive?x=y", "POST") == ("redrive", "/letters/17/redrive?x=y")
    assert goes_to(routes, "/letters/1/redrive", "POST") == ("exact", "/letters/1/redrive")
    assert goes_to(routes, "/letters/17/redrive") == ("reads", "/letters/17/redrive")
    for other in ("/letters/17/redrive/", "/letters/x/redrive", "/a/letters/17/redrive", "/letters"):
        assert goes_to(routes, other, "POST") == ("rest", other)


def test_a_broken_expression_leads_nowhere() -> None:
    """And takes no other route with it."""
    broken = {"path": {"type": "RegularExpression", "value": "^/(letters"}}
    assert goes_to([route(broken, to="broken"), route(prefix("/"), to="rest")], "/letters") == ("rest", "/letters")


def test_prefixes_are_replaced() -> None:
    """The matched prefix is replaced by whole segments, and the query stays."""
    small = route(prefix("/m/small"), to="small", path={"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"})
    assert goes_to([small], "/m/small/v1/models?a=b") == ("small", "/v1/models?a=b")
    assert goes_to([small], "/m/small") == ("small", "/")
    assert goes_to([small], "/m/smaller") is None


def test_hostnames_limit_a_route() -> None:
    """A route with hostnames takes calls to those alone."""
    limited = [route(prefix("/"), hostnames=["api.example", "*.models.example"])]
    assert goes_to(limited, "/", host="api.example") == ("x", "/")
    assert goes_to(limited, "/", host="a.models.example") == ("x", "/")
    assert goes_to(limited, "/", host="other.example") is None


@pytest.mark.parametrize(("roll", "expected"), [(0.0, "a"), (79.9, "a"), (80.0, "b"), (99.9, "b"), (100.0, None)])
def test_dice_follow_percentages(roll: float, expected: str | None) -> None:
    """A roll in [0, 100) falls into the share that covers it."""
    assert choose([Share("a", 80), Share("b", 20)], roll) == expected
