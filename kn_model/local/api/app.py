"""The Kubernetes API of the laptop runtime: what `kubectl`, `kn` and the serve function speak to.

The supervisor mounts it on loopback, with TLS because kubectl sends no token without:

    tls = certificate.ensure(folder / "tls")        # tls.ca goes into the kubeconfig and beside each token as ca.crt
    api = application(Cluster(store, admission.admit, supported.check), tokens.user_of)
    runner = await listener.listen(api, port, tls=tls.context())

Offered: discovery, OpenAPI as far as kubectl needs it, and for every
kind in `kinds.py` (or added by a CRD) get, list, watch, create, update, merge and strategic-merge patch, delete, status.
Refused by name: server-side apply, JSON patch, protobuf.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, cast

from aiohttp import web

from kn_model.local.api import discovery as api_discovery
from kn_model.local.api import openapi as api_openapi
from kn_model.local.api import watch as api_watch
from kn_model.local.api.cluster import Cluster
from kn_model.local.api.errors import MethodNotAllowed, NotFound, UnsupportedMediaType
from kn_model.local.api.guard import OPEN, UserOf, guard
from kn_model.local.api.http import answer, deleted, read_body, renderer, wants_table, write_asked_for
from kn_model.local.api.paths import Address, parse
from kn_model.local.api.table import table
from kn_model.local.objects import meta as object_meta
from kn_model.local.objects.kinds import BUILT_IN, Kind, Object
from kn_model.local.objects.selectors import require_selectable
from kn_model.local.objects.strategic import strategic_merge

MAX_OBJECT: Final = 3 * 1024 * 1024
"""Bytes of a request: an API server's own limit."""
_PATCHES: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "application/merge-patch+json": object_meta.merge_patch,
    "application/strategic-merge-patch+json": strategic_merge,
}


class Api:
    """The handlers. Everyone who is let in may do everything: RBAC objects are kept, not enforced."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._store = cluster.store

    # --- what there is ---

    def _kinds(self) -> Sequence[Kind]:
        return (*BUILT_IN, *self._store.custom_kinds())

    async def healthy(self, _request: web.Request) -> web.Response:
        """`/healthz` and its kin."""
        return web.Response(text="ok")

    async def version(self, _request: web.Request) -> web.Response:
        """`/version`."""
        return web.json_response(dict(api_discovery.VERSION))

    async def discovery(self, request: web.Request) -> web.Response:
        """`/api` and `/apis`, aggregated when the client can read that."""
        core = request.path.rstrip("/") == "/api"
        if "as=APIGroupDiscoveryList" in request.headers.get("Accept", ""):
            body = json.dumps(api_discovery.aggregated(self._kinds(), core=core))
            return web.Response(body=body.encode(), headers={"Content-Type": api_discovery.AGGREGATED})
        return web.json_response(api_discovery.core_versions() if core else api_discovery.groups(self._kinds()))

    async def resources(self, request: web.Request) -> web.Response:
        """`/api/v1` and `/apis/<group>/<version>`."""
        api_version = request.path.strip("/").partition("/")[2]
        found = api_discovery.resources(self._kinds(), api_version)
        if not found["resources"]:
            raise NotFound("the server could not find the requested resource")
        return web.json_response(found)

    async def openapi(self, request: web.Request) -> web.Response:
        """`/openapi/v3` and its documents."""
        root = request.match_info.get("root", "")
        found = api_openapi.document(self._kinds(), root) if root else api_openapi.index(self._kinds())
        return web.json_response(found)

    # --- objects ---

    async def read(self, request: web.Request) -> web.StreamResponse:
        """GET: one object, a list, or a watch."""
        address = self._address(request)
        if request.query.get("watch") in ("true", "1"):
            watch = api_watch.asked_for(address, request.query)
            return await api_watch.stream(request, watch, self._store, renderer(request))
        if address.name:
            obj = self._store.get(address.kind, address.namespace, address.name)
            return answer(request, address.kind, obj)
        return self._list(request, address)

    def _list(self, request: web.Request, address: Address) -> web.Response:
        revision = {"resourceVersion": str(self._store.revision)}
        labels, fields = request.query.get("labelSelector", ""), request.query.get("fieldSelector", "")
        require_selectable(address.kind, fields)
        found = self._store.list(address.kind, address.namespace, labels=labels, fields=fields)
        if wants_table(request):
            return web.json_response(table(address.kind, found, revision))
        kind = f"{address.kind.kind}List"
        body = {"kind": kind, "apiVersion": address.kind.api_version, "metadata": revision, "items": found}
        return web.json_response(body)

    async def create(self, request: web.Request) -> web.Response:
        """POST."""
        address, write = self._address(request), write_asked_for(request)
        if address.name:
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        obj = await read_body(request, write)
        namespace = address.namespace or (obj.get("metadata") or {}).get("namespace") or "default"
        made = await self._cluster.create(address.kind, namespace, obj, write)
        return answer(request, address.kind, made, write, HTTPStatus.CREATED)

    async def replace(self, request: web.Request) -> web.Response:
        """PUT of an object or its status."""
        address, write = self._named(request), write_asked_for(request)
        obj = await read_body(request, write)
        where = (address.kind, address.namespace, address.name)
        if address.subresource == "status":
            return answer(request, address.kind, await self._cluster.set_status(*where, obj))
        return answer(request, address.kind, await self._cluster.replace(*where, obj, write), write)

    async def patch(self, request: web.Request) -> web.Response:
        """PATCH of an object or its status."""
        address, write = self._named(request), write_asked_for(request)
        merge = _PATCHES.get(request.content_type)
        if merge is None:
            raise UnsupportedMediaType(
                f"{request.content_type} is not offered here; use a merge patch (with kubectl apply: leave out --server-side)"
            )
        patch = await read_body(request, write)
        where = (address.kind, address.namespace, address.name)
        if address.subresource == "status":
            return answer(request, address.kind, await self._cluster.patch_status(*where, patch))
        patched = await self._cluster.patch(*where, lambda old: cast("Object", merge(old, patch)), write)
        return answer(request, address.kind, patched, write)

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE of one object, and of what it owns; of a collection, one after the other."""
        address = self._address(request)
        if not address.name:
            return await self._delete_all(request, address)
        options = await read_body(request) if request.body_exists else {}
        conditions = options.get("preconditions") or {}
        if "All" in (options.get("dryRun") or []) or write_asked_for(request).dry_run:
            gone = self._store.get(address.kind, address.namespace, address.name)
        else:
            gone = await self._store.delete(
                address.kind,
                address.namespace,
                address.name,
                uid=conditions.get("uid"),
                resource_version=conditions.get("resourceVersion"),
            )
        return web.json_response(deleted(address, gone))

    async def _delete_all(self, request: web.Request, address: Address) -> web.Response:
        labels, fields = request.query.get("labelSelector", ""), request.query.get("fieldSelector", "")
        for obj in self._store.list(address.kind, address.namespace, labels=labels, fields=fields):
            await self._store.delete(address.kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        return web.json_response({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})

    def _address(self, request: web.Request) -> Address:
        address = parse(request.path, self._store.custom_kinds())
        if address.subresource not in ("", "status"):
            raise NotFound("the server could not find the requested resource")
        return address

    def _named(self, request: web.Request) -> Address:
        address = self._address(request)
        if not address.name:
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        return address


def application(cluster: Cluster, user_of: UserOf) -> web.Application:
    """The API as an aiohttp application. `user_of` says whose a bearer token is. It makes the system namespaces when it starts."""
    api = Api(cluster)
    app = web.Application(middlewares=[guard(user_of)], client_max_size=MAX_OBJECT)

    async def prepare(_app: web.Application) -> None:
        await cluster.prepare()

    app.on_startup.append(prepare)
    app.add_routes(
        [
            *(web.get(path, api.healthy) for path in sorted(OPEN)),
            web.get("/version", api.version),
            web.get("/{root:apis?}", api.discovery),
            web.get("/api/v1", api.resources),
            web.get("/apis/{group}/{version}", api.resources),
            web.get("/openapi/v3", api.openapi),
            web.get("/openapi/v3/{root:.*}", api.openapi),
            web.get("/{path:.*}", api.read),
            web.post("/{path:.*}", api.create),
            web.put("/{path:.*}", api.replace),
            web.patch("/{path:.*}", api.patch),
            web.delete("/{path:.*}", api.delete),
        ]
    )
    return app
