"""A function that notes when its handler started for each event, by subject. Deployed by `outbox.py`."""

import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

STARTED: dict[str, float] = {}


async def handle(request: Request) -> Response:
    """POST notes an event, GET answers the notes (seconds since the epoch by subject)."""
    if request.method == "POST":
        STARTED[request.headers["ce-subject"]] = time.time()
        return Response(status_code=204)
    return JSONResponse(STARTED)
