"""Asynchronous inference through the real thing: the laptop runtime with its Broker, its door and engines that wake.

One runtime with one slow model for all tests here; they run in the order of this file. What the demo's administrator
asks is answered by an engine that only pretends, at five words a second.
"""

import asyncio
import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from functions.kit.objects import S3Objects
from functions.kit.settings import Secret
from kn_model.client import Client
from kn_model.demo.process import below
from kn_model.demo.runtime import RunningRuntime
from tests.chaos.killer import service_of
from tests.integration.laptops import OFTEN, own_laptop, rows, secrets, until

ROOT = Path(__file__).parents[3]
RUNTIMES = Path(__file__).with_name("runtimes").relative_to(ROOT)
# serve knows the slow engine, gives a call 15 seconds and one attempt.
SERVE = {
    "TORPOR_RUNTIMES_DIR": str(RUNTIMES),
    "TORPOR_INFERENCE_CALL_SECONDS": "15",
    "TORPOR_INFERENCE_ATTEMPTS": "1",
    "TORPOR_WEBHOOK_HOSTS": "127.0.0.1",
}


@dataclass
class Laptop:
    """What a test touches."""

    runtime: RunningRuntime
    client: Client
    secrets: dict[str, dict[str, str]]

    def ask(self, words: int, **asked: Any) -> str:
        """A request for so many words; its id."""
        body = {"messages": [{"role": "user", "content": "Count."}], "max_tokens": words}
        request = {"server": "model", "body": body, **asked}
        return str(self.client.post("/inference", request, idempotency_key=str(uuid4()))["id"])

    def read(self, uuid: str) -> Any:
        """GET /inference/{id}."""
        return self.client.get(f"/inference/{uuid}")

    def until(self, uuid: str, state: str) -> Any:
        """The record, once it is in this state."""
        until(lambda: self.read(uuid)["status"] == state, lambda: f"{state}: {self.read(uuid)}")
        return self.read(uuid)

    def rows(self, query: str, *arguments: object) -> list[Any]:
        """Rows of the runtime's database."""
        return rows(self.runtime, query, *arguments)

    def replace_body(self, uuid: str, words: int) -> None:
        """What an operator would mend: ask for less."""
        told = self.secrets["torpor-s3"]
        keys = (Secret(told["access-key"]), Secret(told["secret-key"]))
        objects = S3Objects(told["endpoint"], told["region"], *keys, told["bucket"])
        body = {"model": "model", "messages": [{"role": "user", "content": "Count."}], "max_tokens": words}
        asyncio.run(objects.put(f"inference/{uuid}/request.json", json.dumps(body).encode()))

    def kill(self, function: str) -> int:
        """SIGKILL every process of a function; how many there were."""
        killed = 0
        for process in self._processes(function):
            with contextlib.suppress(psutil.Error):
                process.kill()
                killed += 1
        return killed

    def is_asked(self, server: str) -> bool:
        """Whether somebody is connected to the engine: the front door drops connections that are idle for a second."""
        with contextlib.suppress(psutil.Error):
            for process in self._processes(server):
                found = process.net_connections("tcp")
                own = {each.laddr.port for each in found if each.status == psutil.CONN_LISTEN}
                if any(each.laddr.port in own and each.status == psutil.CONN_ESTABLISHED for each in found):
                    return True
        return False

    def _processes(self, service: str) -> list[psutil.Process]:
        logs = self.runtime.folder / "logs"
        return [process for process in below(self.runtime.pid) if service_of(process.pid, logs) == service]


@pytest.fixture(scope="module")
def on_laptop() -> Iterator[Laptop]:
    """A runtime with a model that is served and asleep."""
    with own_laptop("slow-stub", SERVE, tick=OFTEN) as running, contextlib.closing(running.log_in()) as client:
        client.post("/models", {"source": "hf://acme/model", "serve": {}})
        until(lambda: _is_asleep(client), lambda: "the model is not served")
        yield Laptop(running, client, secrets(running))


def _is_asleep(client: Client) -> bool:
    servers = client.items("/status", "servers")
    return [server["status"] for server in servers] == ["asleep"]


@dataclass
class Receiver:
    """A webhook's receiver that is down for its first delivery."""

    got: list[dict[str, str]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A running one."""
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            made.got.append({name.lower(): text for name, text in self.headers.items()})
            self.send_response(503 if len(made.got) == 1 else 204)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}/hook"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


def test_a_sleeping_model_wakes_and_answers(on_laptop: Laptop, receiver: Receiver) -> None:
    """From zero: asked, woken, answered, told, and booked once for the person who asked."""
    assert on_laptop.runtime.replicas()["model-00001"] == 0
    secret = "whsec_" + base64.b64encode(bytes(range(32))).decode()

    uuid = on_laptop.ask(3, callback={"url": receiver.url, "secret": secret})

    done = on_laptop.until(uuid, "completed")
    assert done["result"]["choices"][0]["message"]["content"].split() == ["This", "is", "the"]
    until(lambda: on_laptop.read(uuid)["callback"]["status"] == "delivered", lambda: str(on_laptop.read(uuid)))
    assert len({headers["webhook-id"] for headers in receiver.got}) == 1
    assert all(headers["webhook-signature"].startswith("v1,") for headers in receiver.got)
    until(lambda: bool(on_laptop.rows("SELECT 1 FROM usage")), lambda: "no usage")
    (used,) = on_laptop.rows("SELECT subject, key_id, completion_tokens, status FROM usage")
    assert tuple(used) == ("admin", None, 3, 200)


def test_serve_killed_in_mid_call_is_followed(on_laptop: Laptop) -> None:
    """Whoever is killed while the model speaks: one completion, and usage once for each answer of the engine."""
    before = len(on_laptop.rows("SELECT 1 FROM usage"))
    uuid = on_laptop.ask(25)
    until(lambda: on_laptop.is_asked("model"), lambda: "the model is not asked")
    assert on_laptop.kill("serve") > 0
    # Nobody renews it any more; so it ends now and not in a quarter of a minute.
    ended = "UPDATE inference_requests SET lease_until = now() - interval '1 second' WHERE uuid = $1 RETURNING status"
    assert [row["status"] for row in on_laptop.rows(ended, uuid)] == ["running"]

    done = on_laptop.until(uuid, "completed")

    assert len(done["result"]["choices"][0]["message"]["content"].split()) == 25
    assert done["attempts"] > 1
    booked = "SELECT request_id, status FROM usage ORDER BY started_at OFFSET $1"
    until(lambda: 200 in [row["status"] for row in on_laptop.rows(booked, before)], lambda: "no usage")
    answers = on_laptop.rows(booked, before)
    assert len({row["request_id"] for row in answers}) == len(answers) <= done["attempts"]
    assert [row["status"] for row in answers].count(200) == 1
    completed = "SELECT 1 FROM feed WHERE subject = $1 AND type = 'inference.completed'"
    until(lambda: len(on_laptop.rows(completed, uuid)) == 1, lambda: "no news")


def test_cancelling_stops_the_engine(on_laptop: Laptop) -> None:
    """A call of twelve seconds, for which there is time, ends long before: the engine books it as cut off."""
    before = len(on_laptop.rows("SELECT 1 FROM usage"))
    uuid = on_laptop.ask(60)
    until(lambda: on_laptop.is_asked("model"), lambda: "the model is not asked")

    cancelled = on_laptop.client.delete(f"/inference/{uuid}")

    until(lambda: len(on_laptop.rows("SELECT 1 FROM usage")) > before, lambda: "the engine speaks on")
    ((status,),) = on_laptop.rows("SELECT status FROM usage ORDER BY started_at OFFSET $1", before)
    assert (cancelled["status"], on_laptop.read(uuid)["status"], status) == ("cancelled", "cancelled", 499)


def test_what_failed_for_good_is_a_dead_letter_that_can_be_redriven(on_laptop: Laptop) -> None:
    """The event, with the reason; sent again once the cause is mended, the request is answered."""
    uuid = on_laptop.ask(400)
    failed = on_laptop.until(uuid, "failed")
    assert "does not answer" in failed["error"]

    def letters() -> list[Any]:
        return on_laptop.client.items("/deadletters", "dead_letters", subject=uuid)

    # The Broker hears of it last.
    until(lambda: bool(letters()), lambda: "no dead letter")
    (letter,) = letters()
    assert letter["type"] == "dev.torpor.inference.requested.v1"

    on_laptop.replace_body(uuid, 2)
    on_laptop.client.post(f"/deadletters/{letter['id']}/redrive", {})

    done = on_laptop.until(uuid, "completed")
    assert done["result"]["choices"][0]["message"]["content"].split() == ["This", "is"]
