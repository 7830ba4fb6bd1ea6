"""Whoever asked is told at an address of theirs: at least once, signed, and never at one inside."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.integration.inference.stage import Stage, stage
from tests.unit.log_lines import log_lines

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@dataclass
class Receiver:
    """Somebody's server: answers these statuses, then 200."""

    script: list[int] = field(default_factory=list)
    got: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    async def take(self, request: web.Request) -> web.Response:
        """One delivery."""
        headers = {name.lower(): text for name, text in request.headers.items()}
        self.got.append((headers, await request.read()))
        status = self.script.pop(0) if self.script else 200
        return web.Response(status=status, headers={"location": "/elsewhere"} if status == 302 else {})

    @property
    def callback(self) -> dict[str, str]:
        """What a caller sends."""
        return {"url": f"{self.url}hook?token=t", "secret": SECRET}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A running receiver."""
    made, app = Receiver(), web.Application()
    app.router.add_route("*", "/{path:.*}", made.take)
    async with TestServer(app) as server:
        made.url = str(server.make_url("/"))
        yield made


@pytest.fixture
async def inference(database_url: str, s3_endpoint: dict[str, str], tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage whose operator vouches for this machine."""
    given = {"webhook_hosts": ("127.0.0.1",), "webhook_attempts": 2, "inference_attempts": 1}
    async with stage(database_url, s3_endpoint, tmp_path, **given) as running:
        yield running


async def test_the_end_is_told_and_signed(inference: Stage, receiver: Receiver) -> None:
    """Where the answer is, with a signature that any library of Standard Webhooks verifies."""
    uuid = await inference.asked(callback=receiver.callback)

    assert await inference.deliver() == [204, 204]

    ((headers, body),) = receiver.got
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    told = json.loads(body)
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert (told["type"], told["data"]["id"]) == ("inference.completed", uuid)
    callback = (await inference.read(uuid))["callback"]
    assert callback == {"host": "127.0.0.1", "status": "delivered", "attempts": 1, "error": None}


async def test_a_receiver_that_is_down_is_told_later(inference: Stage, receiver: Receiver) -> None:
    """Under the same id, so that it can tell a repetition."""
    receiver.script = [500]
    uuid = await inference.asked(callback=receiver.callback)
    await inference.post(inference.requests()[0])
    (event,) = inference.requests("webhook.requested")

    assert [await inference.post(event) for _ in range(3)] == [503, 204, 204]

    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len({body for _, body in receiver.got}) == 1
    assert ((await inference.read(uuid))["callback"]["status"], len(receiver.got)) == ("delivered", 2)


@pytest.mark.parametrize("status", [410, 302, 500])
async def test_a_receiver_that_never_takes_it_is_a_dead_letter(
    inference: Stage, receiver: Receiver, status: int
) -> None:
    """At once when it is gone, else after the last attempt; a redirect is not followed. A redrive tells it after all."""
    receiver.script = [status] * 2
    uuid = await inference.asked(callback=receiver.callback)
    await inference.post(inference.requests()[0])
    (event,) = inference.requests("webhook.requested")

    codes = [await inference.post(event)]
    while codes[-1] == 503:
        codes.append(await inference.post(event))
    failed = (await inference.read(uuid))["callback"]
    receiver.script = []
    duplicate = await inference.post(event)
    await inference.redriven(event)

    assert (codes[-1], failed["status"], str(status) in failed["error"]) == (400, "failed", True)
    assert (len(receiver.got), duplicate) == (len(codes), 204)
    assert await inference.post(event) == 204
    assert (await inference.read(uuid))["callback"]["status"] == "delivered"


async def test_every_end_is_told(inference: Stage, receiver: Receiver) -> None:
    """Failed, cancelled and expired as well."""
    inference.model.script = [(400, {"error": {"message": "no"}})]
    await inference.asked(callback=receiver.callback)
    await inference.deliver()
    cancelled = await inference.asked(callback=receiver.callback)
    await inference.serve.http.delete(f"/inference/{cancelled}")
    await inference.asked(callback=receiver.callback, deadline_s=5)
    inference.requests()
    await inference.db.execute("UPDATE inference_requests SET deadline_at = now() - interval '1 second'")
    await inference.serve.tick()
    await inference.deliver()

    types = sorted(json.loads(body)["type"] for _, body in receiver.got)
    assert types == ["inference.cancelled", "inference.expired", "inference.failed"]


async def test_an_address_that_turns_out_inside_is_not_asked(inference: Stage, receiver: Receiver) -> None:
    """The name is looked at when it is resolved, whatever it answered before."""
    uuid = await inference.asked(callback={"url": "https://localhost/hook"})
    await inference.post(inference.requests()[0])
    (event,) = inference.requests("webhook.requested")

    assert await inference.post(event) == 400

    assert "not a public address" in (await inference.read(uuid))["callback"]["error"]
    assert receiver.got == []


@pytest.mark.parametrize("url", ["http://receiver.example/hook", "https://10.0.0.1/hook", "https://2130706433/hook"])
async def test_an_address_that_is_no_longer_vouched_for_is_not_asked(inference: Stage, url: str) -> None:
    """What the operator took back since it was accepted: judged again when it is used."""
    uuid = await inference.asked(callback={"url": "https://receiver.example/hook"})
    await inference.db.execute("UPDATE inference_requests SET callback_url = $1", url)
    await inference.post(inference.requests()[0])
    (event,) = inference.requests("webhook.requested")

    assert await inference.post(event) == 400

    assert (await inference.read(uuid))["callback"]["attempts"] == 1


async def test_a_lost_webhook_is_told_again(inference: Stage, receiver: Receiver) -> None:
    """By the tick, once the Trigger must have given up."""
    await inference.asked(callback=receiver.callback)
    await inference.post(inference.requests()[0])
    inference.requests("webhook.requested")
    await inference.db.execute("UPDATE inference_requests SET callback_told_at = now() - interval '1 hour'")

    await inference.serve.tick()

    assert await inference.deliver() == [204]
    assert len(receiver.got) == 1


async def test_the_secret_stays_here(inference: Stage, receiver: Receiver, capfd: pytest.CaptureFixture[str]) -> None:
    """In no answer, no event, no log line, no object; nor the address, whose path may be one too."""
    receiver.script = [500]
    with log_lines("") as told:
        answer = await inference.ask(callback=receiver.callback)
        events = inference.requests()
        await inference.post(events[0])
        (event,) = inference.requests("webhook.requested")
        await inference.post(event)
    read = json.dumps(await inference.read(answer.json()["id"]))
    stored = [await inference.objects.get(info.key) or b"" for info in await inference.objects.keys("inference/")]

    # The receiver's own log is somebody else's.
    lines = [line for line in "".join(capfd.readouterr()).splitlines() if "aiohttp.access" not in line]
    lines += [json.dumps(line) for line in told if line["logger"] != "aiohttp.access"]
    assert lines
    seen = "".join([answer.text, read, str(events), str(event), *lines, *map(str, stored)])
    for secret in (SECRET, SECRET.removeprefix("whsec_"), "token=t"):
        assert secret not in seen
