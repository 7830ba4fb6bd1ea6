"""RFC 9457 problem documents of the front door. Called by `door/frontdoor.py` and `proxy.py`."""

import json
import math

from aiohttp import web


def problem(status: int, title: str, detail: str, *, retry_s: float | None = None, **members: str) -> web.Response:
    """An `application/problem+json` answer; `retry_s` (seconds) becomes Retry-After, at least 1."""
    slug = title.lower().replace(" ", "-")
    body = {"type": f"urn:torpor:problem:{slug}", "title": title, "status": status, "detail": detail} | members
    headers = {} if retry_s is None else {"Retry-After": str(max(1, math.ceil(retry_s)))}
    return web.Response(status=status, text=json.dumps(body), content_type="application/problem+json", headers=headers)
