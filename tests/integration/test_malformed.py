"""What is no event, and what no column can hold, over real HTTP to a function's real process: 400 or 413, never 5xx."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest

from functions.kit import events
from functions.kit.events import UsageRecord, UsageRecorded
from kn_model.local import ports
from tests.deliveries import ENVIRONMENT, delivered, signed
from tests.integration.processes import answers
from tests.malformed import MALFORMED

ROOT = Path(__file__).parents[2]
# Bytes that no client library would send: (what, the raw headers and body).
RAW = [
    ("NUL in a header", b"ce-id: a\0b\r\ncontent-length: 2\r\n\r\n{}"),
    (
        "Latin-1 in a header",
        b"ce-id: \xe9\r\nce-source: /s\r\nce-type: t\r\nce-specversion: 1.0\r\ncontent-length: 2\r\n\r\n{}",
    ),
    (
        "an id twice",
        b"ce-id: 1\r\nce-id: 2\r\nce-source: /s\r\nce-type: t\r\nce-specversion: 1.0\r\ncontent-length: 2\r\n\r\n{}",
    ),
]


@pytest.fixture
async def process(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """`status` as Knative runs it, under functions-framework."""
    (port,) = ports.free(1)
    # Nothing of these tests gets as far as S3.
    s3 = {f"TORPOR_S3_{name}": "none" for name in ("ENDPOINT", "BUCKET", "ACCESS_KEY", "SECRET_KEY")}
    environment = {"PATH": os.environ["PATH"], "TORPOR_DATABASE_URL": database_url, **s3, **ENVIRONMENT}
    arguments = ["--asgi", "--source", "functions/status/main.py", "--target", "handle", "--port", str(port)]
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "functions_framework", *arguments, "--host", "127.0.0.1", env=environment, cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        try:
            await answers(running, client)
            yield client
        finally:
            os.killpg(running.pid, signal.SIGKILL)
            await running.wait()


@pytest.mark.parametrize("path", ["/events", "/deadletters"])
async def test_what_is_no_event_is_never_our_failure(process: httpx.AsyncClient, path: str) -> None:
    """The whole table against one process, which is well afterwards. The list of dead letters takes no nonsense either."""
    wrong = []
    for what, headers, body, expected in MALFORMED:
        try:
            status = (await process.post(path, headers=delivered(headers), content=body)).status_code
        except httpx.WriteError:
            # The answer came while the body was still on its way, and the connection was closed.
            status = 413
        if status != expected:
            wrong.append((what, status))
    assert [] == wrong
    assert (await process.get("/readyz")).status_code == 200


@pytest.mark.parametrize(("what", "raw"), RAW)
async def test_bytes_that_no_client_sends(process: httpx.AsyncClient, what: str, raw: bytes) -> None:
    """Written to the socket as they are."""
    reader, writer = await asyncio.open_connection("127.0.0.1", process.base_url.port)
    writer.write(b"POST /events HTTP/1.1\r\nhost: f\r\nkn-namespace: torpor\r\nconnection: close\r\n" + raw)
    answer = (await reader.read()).split(b"\r\n", 1)[0]
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400"), (what, answer)


@pytest.mark.parametrize(
    ("field", "value"),
    [("request_id", "a\0b"), ("subject", "\0"), ("model_name", "x\0"), ("started_at", "0001-01-01T00:00:00+23:59")],
)
async def test_what_cannot_be_stored_is_rejected(process: httpx.AsyncClient, field: str, value: str) -> None:
    """A genuine event with a value that PostgreSQL has no room for: a retry would meet the same."""
    record = UsageRecord("r", "ada", None, "m", 1, 2, "2026-01-01T00:00:00Z", 3, 200, streamed=False)
    data = msgspec.json.encode({"server": "s", "records": [{**msgspec.to_builtins(record), field: value}]})
    headers = signed(events.headers("1", "/torpor/engine", UsageRecorded.TYPE, "s", {}), data)
    answer = await process.post("/events", headers=headers, content=data)
    assert 400 == answer.status_code, answer.text
