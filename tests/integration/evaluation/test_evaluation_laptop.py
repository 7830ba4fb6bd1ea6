"""From the first call to the promotion on the laptop runtime: its gateway, its Broker, and engines that sleep and wake.

One runtime and two models for all tests here; they run in the order of this file.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from kn_model import laptop
from kn_model.client import Client
from kn_model.demo.runtime import RunningRuntime
from kn_model.session import log_in_to_laptop
from tests.integration.laptops import OFTEN, own_laptop, until

ROOT = Path(__file__).parents[3]
RUNTIMES = Path(__file__).with_name("runtimes").relative_to(ROOT)
CHAT = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}


@dataclass
class Laptop:
    """What a test touches."""

    runtime: RunningRuntime
    client: Client
    token: str
    source: str

    def call(self, server: str, token: str | None = None) -> httpx.Response:
        """One chat with a server, as any OpenAI client would."""
        credential = self.token if token is None else token
        headers = {"authorization": f"Bearer {credential}"} if credential else {}
        url = f"{self.runtime.url}/m/{server}/v1/chat/completions"
        return httpx.post(url, json={"model": server, **CHAT}, headers=headers, timeout=60, trust_env=False)


@pytest.fixture(scope="module")
def on_laptop() -> Iterator[Laptop]:
    """A runtime with one model that is stored and not served, and another one on its way."""
    serve = {"TORPOR_RUNTIMES_DIR": str(RUNTIMES)}
    with own_laptop("knowing-stub", serve, tick=OFTEN) as running, closing(running.log_in()) as client:
        client.post("/models", {"source": "hf://acme/model", "name": "wrong", "serve": False})
        until(lambda: client.get("/models/wrong")["status"] == "available", lambda: client.get("/models/wrong"))
        token = log_in_to_laptop(laptop.running(running.folder)).token
        yield Laptop(running, client, token, "hf://acme/model")


def test_a_known_server_is_never_404(on_laptop: Laptop) -> None:
    """From the moment in which it was accepted until it answers: 503 in OpenAI's shape, or the answer."""
    assert on_laptop.call("first").status_code == 404
    on_laptop.client.post("/serve", {"model": "wrong", "name": "first"})
    answers: list[httpx.Response] = []

    def answered() -> bool:
        answers.append(on_laptop.call("first"))
        return answers[-1].status_code == 200

    until(answered, lambda: answers[-1].text)
    early = answers[:-1]
    assert {answer.status_code for answer in early} == {503}
    assert all(answer.headers["retry-after"] and answer.json()["error"]["phase"] for answer in early), early[0].text
    assert on_laptop.call("first", token="").status_code == 401
    assert answers[-1].json()["choices"][0]["message"]["content"].strip() == "It is London"


def test_a_cold_start_is_recorded_by_revision(on_laptop: Laptop) -> None:
    """The first one, and the one of a call that woke it; the stub fetches and loads nothing."""

    def starts() -> Any:
        return on_laptop.client.get("/status/first")["cold_starts"]

    until(lambda: starts() and starts()[0]["starts"] == 1, starts)
    until(lambda: on_laptop.runtime.replicas()["first-00001"] == 0, on_laptop.runtime.replicas)
    assert on_laptop.call("first").status_code == 200
    until(lambda: starts()[0]["starts"] == 2, starts)
    (of_revision,) = starts()
    last = of_revision["last"]
    assert (of_revision["revision"], last["fetch_ms"], last["load_ms"]) == ("first-00001", None, None)
    assert (last["ready_ms"] > 0, last["schedule_ms"] is not None) == (True, True)
    on_laptop.client.delete("/serve/first")


def test_what_an_engine_uses_is_measured(on_laptop: Laptop) -> None:
    """Megabytes of a small Python process, told with the usage of a call; nothing is used at zero."""
    on_laptop.client.post("/serve", {"model": "wrong", "name": "second"})

    def used() -> int:
        return int(on_laptop.client.get("/status/second")["memory_usage_mb"])

    until(lambda: on_laptop.call("second").status_code == 200 and used() > 10, used)
    until(lambda: on_laptop.client.get("/status/second")["status"] == "asleep" and used() == 0, used)
    on_laptop.client.delete("/serve/second")


def test_the_better_of_two_is_promoted(on_laptop: Laptop) -> None:
    """One of them has not been asked for yet; the prompts wake them, and the alias answers as the winner does."""
    prompt = {**CHAT, "expect": {"contains": "Paris"}}
    wish = {"alias": "capital", "candidates": ["wrong", "right"], "prompts": [prompt, prompt]}
    uuid = on_laptop.client.post("/evaluations", wish)["id"]

    def read() -> Any:
        return on_laptop.client.get(f"/evaluations/{uuid}")

    until(lambda: read()["why"] == "waits for right", read)
    on_laptop.client.post("/models", {"source": on_laptop.source, "name": "right", "serve": False})
    until(lambda: read()["status"] not in {"waiting", "asking", "promoting"}, read)
    ended = read()
    assert (ended["status"], ended["winner"]) == ("selected", "right"), ended
    assert [(each["score"], len(each["results"])) for each in ended["candidates"]] == [(0.0, 2), (1.0, 2)]
    until(lambda: on_laptop.call("capital").status_code == 200, lambda: on_laptop.call("capital").text)
    assert "Paris" in on_laptop.call("capital").text
    until(
        lambda: [each["name"] for each in on_laptop.client.get("/status")["servers"]] == ["capital"],
        lambda: on_laptop.client.get("/status"),
    )
