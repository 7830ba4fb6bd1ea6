"""What the front door answers by itself: RFC 9457 problem documents that clients of OpenAI's API can read as well.

Called by `door/frontdoor.py`, `proxy.py` and `deliveries.py`.
"""

import json
import math
from typing import Final

from aiohttp import web

from kn_model.local.serving.activator import NotStarting
from kn_model.local.serving.replicas import Replicas

WAKING_S: Final = 5.0
"""After which a caller who was held as long as may be should come again: a start that took so long takes some more."""
_SERVER_ERROR: Final = 500


def problem(status: int, title: str, detail: str, *, retry_s: float | None = None, **members: str) -> web.Response:
    """An `application/problem+json` answer; `retry_s` (seconds) becomes Retry-After, at least 1.

    Its member `error` is the same in the words of OpenAI's API: whoever calls a model looks there.
    """
    slug = title.lower().replace(" ", "-")
    kind = "server_error" if status >= _SERVER_ERROR else "invalid_request_error"
    error = {"message": detail, "type": kind, "param": None, "code": slug.replace("-", "_")} | members
    body = {"type": f"urn:torpor:problem:{slug}", "title": title, "status": status, "detail": detail} | members
    headers = {} if retry_s is None else {"Retry-After": str(max(1, math.ceil(retry_s)))}
    text = json.dumps({**body, "error": error})
    return web.Response(status=status, text=text, content_type="application/problem+json", headers=headers)


def late(replicas: Replicas, *, held: bool) -> web.Response:
    """The time is up: 504 when an instance had the call, as Knative says; 503 and the phase when it was held all the time.

    Knative says 504 to both. Here who was held learns that it is worth coming again; the manifest promises the time alone.
    """
    if not held:
        return problem(504, "Timed out", "the service did not answer in time")
    if replicas.activator.ready:
        detail = "every instance was busy for as long as a call may wait"
        return problem(503, "Overloaded", detail, retry_s=WAKING_S, phase="busy")
    detail = "it is being started and takes longer than a call may wait; the start goes on"
    return problem(503, "Still starting", detail, retry_s=WAKING_S, phase="starting")


def not_starting(error: NotStarting) -> web.Response:
    """Its instances fail to start, and the next try is a while off."""
    return problem(503, "Not starting", str(error), retry_s=error.retry_s, phase="failed", reason=error.reason)


def overloaded() -> web.Response:
    """More calls are held than may be."""
    return problem(503, "Overloaded", "too many calls wait for this revision", retry_s=1, phase="busy")
