"""Requests and answers of the Kubernetes API: bodies in JSON or YAML, options in the query, objects or Tables back.

Called by `api/app.py`.
"""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, cast

import yaml
from aiohttp import web

from kn_model.local.api import repeated
from kn_model.local.api.cluster import FieldValidation, Write
from kn_model.local.api.errors import BadRequest, UnsupportedMediaType
from kn_model.local.api.paths import Address
from kn_model.local.api.table import table
from kn_model.local.objects.history import WatchEvent
from kn_model.local.objects.kinds import Kind, Object

USER: Final = web.RequestKey("user", str)
"""Who calls: set by `guard.py` on every request."""


async def read_body(request: web.Request, write: Write | None = None) -> Object:
    """The request's object, in JSON or YAML; fields that are there twice are noted in `write`. Raises BadRequest."""
    if "protobuf" in request.content_type:
        raise UnsupportedMediaType("the body must be JSON or YAML, not protobuf")
    text = await request.text()
    try:
        decoded = yaml.safe_load(text) if "yaml" in request.content_type else json.loads(text)
    except (ValueError, yaml.YAMLError) as error:
        raise BadRequest(f"the body cannot be read: {error}") from error
    if not isinstance(decoded, dict):
        raise BadRequest("the body is not an object")
    if write is not None and "yaml" not in request.content_type:
        write.duplicates = repeated.fields(text)
    return decoded


def write_asked_for(request: web.Request) -> Write:
    """How a write is asked for: by whom, how strict, and whether for real. Raises BadRequest."""
    validation = request.query.get("fieldValidation", "Warn")
    if validation not in ("Strict", "Warn", "Ignore"):
        raise BadRequest(f"fieldValidation: unknown value {validation}")
    return Write(request[USER], cast("FieldValidation", validation), request.query.get("dryRun") == "All")


def wants_table(request: web.Request) -> bool:
    """Whether the client asks for rows to print, as `kubectl get` does."""
    return "as=Table" in request.headers.get("Accept", "")


def answer(
    request: web.Request, kind: Kind, obj: Object, write: Write | None = None, status: int = HTTPStatus.OK
) -> web.Response:
    """One object, as itself or as a Table, with the warnings of its write as headers (RFC 9111 section 5.5)."""
    version = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
    body = table(kind, [obj], version) if wants_table(request) else obj
    response = web.json_response(body, status=status)
    for warning in write.warnings if write else ():
        text = warning.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
        response.headers.add("Warning", f'299 - "{text}"')
    return response


def renderer(request: web.Request) -> Callable[[WatchEvent], Mapping[str, Any]]:
    """How a watch shows an object: itself, or as a Table whose headings come with the first."""
    if not wants_table(request):
        return lambda event: event.obj
    headed = True

    def as_table(event: WatchEvent) -> Mapping[str, Any]:
        nonlocal headed
        shown = table(event.kind, [event.obj], {"resourceVersion": str(event.revision)}, headed=headed)
        headed = False
        return shown

    return as_table


def deleted(address: Address, gone: Object) -> Mapping[str, Any]:
    """The Status that answers a DELETE; `kubectl` waits for the uid in it to go away."""
    details = {
        "name": address.name,
        "group": address.kind.group,
        "kind": address.kind.plural,
        "uid": gone["metadata"]["uid"],
    }
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
