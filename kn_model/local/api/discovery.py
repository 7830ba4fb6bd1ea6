"""Tells clients which kinds there are: both forms of Kubernetes' discovery. Pure; called by `api/app.py`.

kubectl asks for the aggregated form (two calls), older clients walk the groups. `kn` asks for none of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from kn_model.local.objects.kinds import Kind

Json = dict[str, Any]

AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_VERBS: Final = ["create", "delete", "get", "list", "patch", "update", "watch"]
_STATUS_VERBS: Final = ["get", "patch", "update"]

VERSION: Final[Mapping[str, str]] = {
    "major": "1",
    "minor": "37",
    "gitVersion": "v1.37.0-torpor",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "linux/amd64",
}
"""The version whose API this stands in for; clients compare it with their own."""


def aggregated(kinds: Iterable[Kind], *, core: bool) -> Json:
    """All groups with all their kinds: the answer to `/api` (core group) or `/apis` (all others)."""
    items = [
        {"metadata": {"name": group}, "versions": [_version(version, inside) for version, inside in _versions(members)]}
        for group, members in _groups(kinds)
        if (group == "") is core
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def core_versions() -> Json:
    """The answer to `/api` for clients that do not know the aggregated form."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def groups(kinds: Iterable[Kind]) -> Json:
    """The answer to `/apis` for clients that do not know the aggregated form."""
    found = [
        _group(group, [version for version, _ in _versions(members)]) for group, members in _groups(kinds) if group
    ]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def resources(kinds: Iterable[Kind], api_version: str) -> Json:
    """The answer to `/api/v1` and `/apis/<group>/<version>`."""
    found = [entry for kind in kinds if kind.api_version == api_version for entry in _entries(kind)]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": found}


def _groups(kinds: Iterable[Kind]) -> Iterable[tuple[str, Sequence[Kind]]]:
    ordered = sorted(kinds, key=lambda kind: (kind.group, kind.version))
    return [(group, list(members)) for group, members in groupby(ordered, key=lambda kind: kind.group)]


def _versions(members: Sequence[Kind]) -> Sequence[tuple[str, Sequence[Kind]]]:
    return [(version, list(inside)) for version, inside in groupby(members, key=lambda kind: kind.version)]


def _group(name: str, versions: Sequence[str]) -> Json:
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def _version(version: str, members: Sequence[Kind]) -> Json:
    return {"version": version, "freshness": "Current", "resources": [_discovered(kind) for kind in members]}


def _discovered(kind: Kind) -> Json:
    response = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    status = {"subresource": "status", "responseKind": response, "verbs": _STATUS_VERBS}
    return {
        "resource": kind.plural,
        "responseKind": response,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": _VERBS,
        "shortNames": list(kind.short_names),
        "categories": list(kind.categories),
        **({"subresources": [status]} if kind.has_status else {}),
    }


def _entries(kind: Kind) -> Iterable[Json]:
    entry = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": _VERBS,
        "shortNames": list(kind.short_names),
        "categories": list(kind.categories),
    }
    yield entry
    if kind.has_status:
        yield {
            "name": f"{kind.plural}/status",
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": _STATUS_VERBS,
        }
