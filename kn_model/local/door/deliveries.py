"""Takes the broker's events to services behind the front door, without a connection from this process to itself.

The broker and the door are one process: an event for a Knative Service is routed and held for an instance as a call would
be, and saves the way through a socket twice. Other addresses are sent to over HTTP. Given to the broker by the runtime.
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import ClientConnectorError, ClientError, ClientSession, web
from multidict import CIMultiDict
from yarl import URL

from kn_model.local.addresses import BROKER_INGRESS
from kn_model.local.door import proxy
from kn_model.local.door.frontdoor import FrontDoor
from kn_model.local.door.problems import late, not_starting, overloaded, problem
from kn_model.local.door.routes import cluster_path
from kn_model.local.eventing.cloudevent import CloudEvent
from kn_model.local.eventing.delivery import Answer
from kn_model.local.eventing.sender import Send, no_answer_within, whole
from kn_model.local.serving.activator import NotStarting, Overloaded

# Headers between the parts of Knative Serving: nobody else's to say.
SERVINGS_OWN: Final = "knative-serving-"


@dataclass(frozen=True, slots=True)
class DoorSend:
    """Sends through `door` what is for a service of it, and the rest as `elsewhere` does."""

    door: FrontDoor
    elsewhere: Send

    async def __call__(
        self, url: str, event: CloudEvent, headers: Mapping[str, str], timeout_s: float | None
    ) -> Answer:
        """What the service answered, or the door in its place; status 0 after `timeout_s`."""
        front = self.door.own.front
        found = cluster_path(url.removeprefix(front)) if url.startswith(front) else None
        if found is None or (found.namespace, found.service) == BROKER_INGRESS:
            return await self.elsewhere(url, event, headers, timeout_s)
        target = self.door.target(found)
        if isinstance(target, web.Response):
            return _of(target)
        try:
            async with asyncio.timeout(timeout_s):
                return await _answered(target, self.door.session, _headers(headers, event, target.host), event.data)
        except TimeoutError:
            return no_answer_within(timeout_s)


def _headers(headers: Mapping[str, str], event: CloudEvent, host: str) -> CIMultiDict[str]:
    """As of a call that came through the door (`proxy.py`), and what a broker adds."""
    passed = {name: value for name, value in headers.items() if not name.lower().startswith(SERVINGS_OWN)}
    sent = CIMultiDict({**passed, **event.headers(), "Prefer": "reply", "Host": host})
    sent.update({"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http"})
    sent.setdefault("X-Request-Id", str(uuid.uuid4()))
    return sent


async def _answered(
    target: proxy.Target, session: ClientSession, headers: CIMultiDict[str], body: bytes | None
) -> Answer:
    times, now = target.timeouts, asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(min(times.total_s, times.response_start_s)) as limit:
            return await _tried(target, session, headers, body, lambda: limit.reschedule(now + times.total_s))
    except TimeoutError:
        return _of(late(target.replicas, held=not target.replicas.activator.ready))
    except NotStarting as error:
        return _of(not_starting(error))
    except Overloaded:
        return _of(overloaded())


async def _tried(
    target: proxy.Target,
    session: ClientSession,
    headers: CIMultiDict[str],
    body: bytes | None,
    begun: Callable[[], None],
) -> Answer:
    activator = target.replicas.activator
    for _ in range(proxy.TRIES):
        instance = await activator.acquire()
        url = URL(instance.url + target.path, encoded=True)
        try:
            async with session.post(url, headers=headers, data=body or None, allow_redirects=False) as upstream:
                begun()
                return Answer(upstream.status, upstream.headers, await whole(upstream.content))
        except ClientConnectorError:
            target.replicas.lost(instance)
        except (ClientError, OSError) as error:
            return _of(problem(502, "Bad gateway", f"the instance broke off: {error}", retry_s=1))
        finally:
            activator.release(instance)
    return _of(problem(503, "Unavailable", "no instance takes the connection", retry_s=1))


def _of(response: web.Response) -> Answer:
    body = response.body
    return Answer(response.status, response.headers, body if isinstance(body, bytes) else b"")
