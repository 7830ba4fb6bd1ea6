"""The one port of the laptop runtime: every call to a function, a model or a broker arrives here.

The supervisor mounts `application(...)` on loopback. A call is routed, in this order, by

1. path `/_svc/<namespace>/<service>/...`: what cluster addresses become on this machine (`addresses.py`);
2. Host `<service>.<namespace>.svc.cluster.local` or `<service>.<namespace>.localhost`, tags as `<tag>-<service>`;
3. HTTPRoutes, for callers from outside.

Browsers are kept away from 1 and 2: a page of another origin must not post events (see `_foreign`).
"""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiohttp import ClientSession, web

from kn_model.local.addresses import BROKER_INGRESS, cluster_host
from kn_model.local.door import proxy
from kn_model.local.door.directory import Directory, Entry
from kn_model.local.door.problems import problem
from kn_model.local.door.routes import Backend, Rule, choose, cluster_path, match, rules
from kn_model.local.objects import kinds
from kn_model.local.objects.store import ObjectStore
from kn_model.local.own_deliveries import OwnDeliveries

EVENTS_PATH: Final = "/events"
"""Where functions take events: for brokers and sources inside, never through an HTTPRoute."""
RETRY_S: Final = 2.0
"""After which a caller should look again for a service that is being made."""

Roll = Callable[[], float]
IngressHandler = Callable[[web.Request, str], Awaitable[web.StreamResponse]]
"""Takes events for brokers: the request and `/<namespace>/<broker>`."""


def _roll() -> float:
    return random.random() * 100  # noqa: S311  # spreads load, hides nothing


@dataclass
class FrontDoor:
    """Routes calls. `hosts` are the names that people may call it by, beside loopback ones."""

    directory: Directory
    store: ObjectStore
    session: ClientSession
    own: OwnDeliveries
    broker: IngressHandler | None = None
    hosts: frozenset[str] = frozenset()
    roll: Roll = _roll
    _rules: Sequence[Rule] = field(default=(), init=False)
    _rules_of: int = field(default=-1, init=False)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any call."""
        inside = cluster_path(request.raw_path) or _by_host(request)
        if inside is not None:
            if _foreign(request):
                return problem(403, "Forbidden", "cluster addresses are not for pages of other origins")
            return await self._inside(request, inside)
        if not self._known_host(request.host):
            return problem(421, "Misdirected", "this Host is not served here")
        found = match(self._current_rules(), _name(request.host), request.raw_path, request.method, request.headers)
        if found is None or (request.method == "POST" and found.path.partition("?")[0] == EVENTS_PATH):
            return problem(404, "Not found", f"no route takes {request.method} {request.path}")
        return await self._to_service(request, found)

    async def _inside(self, request: web.Request, found: Backend) -> web.StreamResponse:
        if (found.namespace, found.service) != BROKER_INGRESS:
            return await self._to_service(request, found)
        if self.broker is None:
            return problem(503, "Not ready", "the broker is starting", retry_s=RETRY_S)
        return await self.broker(request, found.path)

    async def _to_service(self, request: web.Request, found: Backend) -> web.StreamResponse:
        target = self.target(found, self.own.namespace(request.headers))
        return target if isinstance(target, web.Response) else await proxy.forward(request, target, self.session)

    def target(self, found: Backend, kn_namespace: str | None = None) -> proxy.Target | web.Response:
        """Where a call for a service goes right now, or the answer that it gets instead."""
        entry = self.directory.entries.get((found.namespace, found.service))
        if entry is None:
            return self._absent(found)
        revision = choose(entry.shares, self.roll())
        live = self.directory.revisions.get((found.namespace, revision)) if revision else None
        if live is None:
            return _not_ready(found.service, entry)
        host = f"{found.service}.{found.namespace}.svc.cluster.local"
        return proxy.Target(live.replicas, live.timeouts, host, found.path, kn_namespace)

    def _absent(self, found: Backend) -> web.Response:
        if self.store.find(kinds.SERVICE, found.namespace, found.service) is not None:
            return _not_ready(found.service, Entry(found.service))
        return problem(404, "Not found", f'no service "{found.service}" in namespace "{found.namespace}"')

    def _current_rules(self) -> Sequence[Rule]:
        """The rules of all HTTPRoutes; sorted again only when one of them changed."""
        changed = self.store.changed(kinds.HTTP_ROUTE)
        if changed != self._rules_of:
            self._rules, self._rules_of = rules(self.store.list(kinds.HTTP_ROUTE)), changed
        return self._rules

    def _known_host(self, host: str) -> bool:
        """Only names that mean this machine: a page whose own name was pointed at loopback does not get in."""
        return _name(host) in ("127.0.0.1", "localhost", "[::1]") or _name(host) in self.hosts


def application(front_door: FrontDoor) -> web.Application:
    """The app that the supervisor listens with; it needs `handler_cancellation=True` (see `listener.py`)."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", front_door.handle)
    return app


def _by_host(request: web.Request) -> Backend | None:
    named = cluster_host(request.host)
    return Backend(*named, request.raw_path) if named else None


def _foreign(request: web.Request) -> bool:
    """Whether a browser sends this for a page: it says so in headers that a page cannot leave out (Fetch standard)."""
    headers: Mapping[str, str] = request.headers
    return "Origin" in headers or headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")


def _name(host: str) -> str:
    """A Host header without its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _not_ready(service: str, entry: Entry) -> web.Response:
    why = entry.waiting_for or "its first revision is being made"
    phase = "failed" if entry.failed else "deploying"
    return problem(503, "Not ready", f"service {service} is not ready: {why}", retry_s=RETRY_S, phase=phase)
