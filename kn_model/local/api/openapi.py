"""The OpenAPI that kubectl needs: that writes take `fieldValidation`, and the schemas of defined kinds for `explain`.

Pure; called by `api/app.py`.

kubectl looks up the PATCH operation of a kind and, when that has the parameter, leaves validation to the server
(cli-runtime `pkg/resource/query_param_verifier_v3.go`). The schemas of built-in
kinds are open: what is refused, `supported.py` knows.
"""

from collections.abc import Iterable
from typing import Any, Final

from kn_model.local.objects.kinds import Kind

Json = dict[str, Any]

_PARAMETERS: Final = [
    {"name": name, "in": "query", "schema": {"type": "string"}}
    for name in ("dryRun", "fieldManager", "fieldValidation")
]


def index(kinds: Iterable[Kind]) -> Json:
    """The answer to `/openapi/v3`."""
    paths = {_root(kind) for kind in kinds}
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash=1"} for path in sorted(paths)}}


def document(kinds: Iterable[Kind], root: str) -> Json:
    """The answer to `/openapi/v3/<root>`, for example `apis/serving.knative.dev/v1`."""
    found = [kind for kind in kinds if _root(kind) == root]
    return {
        "openapi": "3.0.0",
        "info": {"title": "Torpor on one machine", "version": "v1.37.0"},
        "paths": {_path(kind): _operations(kind) for kind in found},
        "components": {"schemas": {_schema_name(kind): _schema(kind) for kind in found}},
    }


def _root(kind: Kind) -> str:
    return f"apis/{kind.api_version}" if kind.group else f"api/{kind.api_version}"


def _path(kind: Kind) -> str:
    return f"/{_root(kind)}/{'namespaces/{namespace}/' if kind.namespaced else ''}{kind.plural}/{{name}}"


def _gvk(kind: Kind) -> Json:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _operations(kind: Kind) -> Json:
    return {
        method: {
            "parameters": _PARAMETERS,
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-action": method,
            "x-kubernetes-group-version-kind": _gvk(kind),
        }
        for method in ("patch", "put")
    }


def _schema_name(kind: Kind) -> str:
    return ".".join([*reversed(kind.group.split(".")), kind.version, kind.kind]).lstrip(".")


def _schema(kind: Kind) -> Json:
    known = {"type": "object", "x-kubernetes-preserve-unknown-fields": True} if kind.schema is None else kind.schema
    return {**known, "x-kubernetes-group-version-kind": [_gvk(kind)]}
