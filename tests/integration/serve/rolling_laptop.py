"""The laptop runtime with one server and callers: rollouts with real engines (the stub), real traffic and real usage.

For the test of the whole path and for the figures of `tests/bench/rollout.py`.
"""

import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx

from kn_model import laptop
from kn_model.client import Client
from kn_model.demo.runtime import RunningRuntime, runtime
from tests.integration.laptops import OFTEN, overlay, secrets
from tests.integration.traces.repository import hub_with_a_model

ROOT: Final = Path(__file__).parents[3]
RUNTIMES: Final = Path(__file__).with_name("runtimes").relative_to(ROOT)
MODELS: Final = ("good", "better", "garbage", "failing", "slow")
# Of whatever a test waits for; a busy machine takes long to start engines.
WITHIN_S: Final = 150
CALLERS: Final = 4


@dataclass
class Answered:
    """One answer: when it ended (time.monotonic), its status, and whether it was the candidate's."""

    at: float
    status: int


@dataclass
class Rolling:
    """A server named `tiny` on a running runtime. answers: what its callers got."""

    runtime: RunningRuntime
    client: Client
    secrets: dict[str, dict[str, str]]
    key: str = ""
    answers: list[Answered] = field(default_factory=list)

    def service(self) -> Any:
        """The Knative Service."""
        access = laptop.cluster(self.runtime.kubeconfig)
        url = f"{access.server}/apis/serving.knative.dev/v1/namespaces/{laptop.NAMESPACE}/services/tiny"
        return httpx.get(url, headers=access.headers, verify=access.verify, trust_env=False).raise_for_status().json()

    def traffic(self) -> dict[str, int]:
        """Revision -> percent, those without left out."""
        found = self.service()["status"]["traffic"]
        return {target["revisionName"]: target["percent"] for target in found if target["percent"]}

    def status(self) -> Any:
        """GET /status/tiny."""
        return self.client.get("/status/tiny")

    def last(self) -> Any:
        """The newest rollout."""
        found = self.status()
        return found["rollout"] or found["rollouts"][0]

    def roll(self, model: str, **rollout: Any) -> None:
        """Let it go over to a model."""
        usual = {"steps": [50, 100], "hold_s": 0, "min_requests": 40, "expect": "Paris"}
        self.client.patch("/serve/tiny", {"model": model, "rollout": {**usual, **rollout}})

    def until(self, holds: Callable[[], bool], what: str, every_s: float = 0.1) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + WITHIN_S
        while not holds():
            assert time.monotonic() < deadline, f"{what}: {self.last()} {self.service()['status']}"
            time.sleep(every_s)

    def until_ended(self, model: str) -> Any:
        """Wait until the rollout to a model has ended. Answers it."""
        self.until(lambda: self.last()["model_name"] == model and bool(self.last()["finished_at"]), f"{model} ends")
        return self.last()

    def until_latest(self) -> None:
        """Wait until the latest revision has everything."""
        self.until(
            lambda: self.traffic() == {self.service()["status"]["latestReadyRevisionName"]: 100}, "the latest serves"
        )
        self.until(lambda: self.status()["status"] in {"ready", "asleep"}, "the record says so")

    def rows(self, query: str, *arguments: object) -> list[Any]:
        """Rows of the runtime's database."""

        async def fetch() -> list[Any]:
            connection = await asyncpg.connect(self.secrets["torpor-postgres"]["url"])
            try:
                return list(await connection.fetch(query, *arguments))
            finally:
                await connection.close()

        return asyncio.run(fetch())

    @contextmanager
    def called(self) -> Iterator[None]:
        """While people call it: streams, one after the other, from a few at once."""
        stop = threading.Event()
        callers = [threading.Thread(target=self._call, args=(stop,)) for _ in range(CALLERS)]
        for caller in callers:
            caller.start()
        try:
            yield
        finally:
            stop.set()
            for caller in callers:
                caller.join()

    def _call(self, stop: threading.Event) -> None:
        url = f"{self.client.url}/m/tiny/v1/chat/completions"
        wish = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3, "stream": True}
        with httpx.Client(headers={"authorization": f"Bearer {self.key}"}, timeout=60, trust_env=False) as http:
            while not stop.is_set():
                status = http.post(url, json=wish).status_code
                self.answers.append(Answered(time.monotonic(), status))
                # Ten a second from all of them: enough for a step in seconds, and the machine is left some room.
                stop.wait(0.4)


@contextmanager
def rolling() -> Iterator[Rolling]:
    """A runtime with every model, and `tiny` serving `good`."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="torpor-")))
        before = os.environ.get("XDG_CONFIG_HOME")
        os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
        stack.callback(_restore, before)
        hub = stack.enter_context(hub_with_a_model(folder / "hub"))
        settings = {"hf-endpoint": hub, "default-runtime": "rolling-stub"}
        # serve knows the stub.
        manifests = overlay(folder, {"TORPOR_RUNTIMES_DIR": str(RUNTIMES)}, tick=OFTEN)
        running = stack.enter_context(runtime(folder / "runtime", settings, print, manifests=manifests))
        client = running.log_in()
        stack.callback(client.close)
        found = Rolling(running, client, secrets(running))
        found.key = client.post("/auth/keys", {"name": "callers"})["key"]
        for name in MODELS:
            client.post("/models", {"source": "hf://acme/model", "name": name})
        _until_available(client)
        client.post("/serve", {"model": "good", "name": "tiny", "scale": {"min": 1}})
        found.until(lambda: found.status()["status"] == "ready", "it is ready")
        yield found


def _restore(before: str | None) -> None:
    os.environ.pop("XDG_CONFIG_HOME")
    if before is not None:
        os.environ["XDG_CONFIG_HOME"] = before


def _until_available(client: Client) -> None:
    deadline = time.monotonic() + WITHIN_S
    while len(client.get("/models/available")["models"]) < len(MODELS):
        assert time.monotonic() < deadline, client.get("/models")
        time.sleep(0.2)
