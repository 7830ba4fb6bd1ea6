"""A function that notes when its handler started for each event, by subject. Deployed by `outbox.py`.

The notes are lines of the file BENCH_NOTES, so that they survive the instance that made them.
"""

import os
import time

from starlette.requests import Request
from starlette.responses import Response

NOTES = open(os.environ["BENCH_NOTES"], "a", buffering=1, encoding="utf-8")  # noqa: SIM115, PTH123  # open while we live


async def handle(request: Request) -> Response:
    """Note one event: subject and seconds since the epoch."""
    NOTES.write(f"{request.headers.get('ce-subject', '-')} {time.time()}\n")
    return Response(status_code=204)
