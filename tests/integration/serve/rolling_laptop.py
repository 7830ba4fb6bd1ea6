"""The laptop runtime with one server and callers: rollouts with real engines (the stub), real traffic and real usage.

For the test of the whole path and for the figures of `tests/bench/rollout.py`.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from kn_model import laptop
from kn_model.client import Client
from kn_model.demo.runtime import RunningRuntime
from tests.integration.laptops import OFTEN, own_laptop, rows, secrets, until

ROOT: Final = Path(__file__).parents[3]
RUNTIMES: Final = Path(__file__).with_name("runtimes").relative_to(ROOT)
MODELS: Final = ("good", "better", "garbage", "failing", "slow")
CALLERS: Final = 4
# A busy machine is slow by itself: latency is judged where it is the point, at a model that is slow beyond any noise.
TTFT_RATIO: Final = {"slow": 1}
ANY_RATIO: Final = 100


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
        ratio = TTFT_RATIO.get(model, ANY_RATIO)
        usual = {"steps": [50, 100], "hold_s": 0, "min_requests": 20, "expect": "Paris", "max_ttft_ratio": ratio}
        self.client.patch("/serve/tiny", {"model": model, "rollout": {**usual, **rollout}})

    def until(self, holds: Callable[[], bool], what: str, every_s: float = 0.1) -> None:
        """Wait until something holds."""
        until(holds, lambda: f"{what}: {self.last()} {self.service()['status']}", every_s)

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
        return rows(self.runtime, query, *arguments)

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
def rolling(tick: str | None = OFTEN) -> Iterator[Rolling]:
    """A runtime with every model, and `tiny` serving `good`. tick: the schedule; every minute where it is None."""
    # serve knows the stub.
    serve = {"TORPOR_RUNTIMES_DIR": str(RUNTIMES)}
    with own_laptop("rolling-stub", serve, tick=tick) as running, closing(running.log_in()) as client:
        found = Rolling(running, client, secrets(running))
        found.key = client.post("/auth/keys", {"name": "callers"})["key"]
        for name in MODELS:
            client.post("/models", {"source": "hf://acme/model", "name": name})
        until(lambda: len(client.get("/models/available")["models"]) == len(MODELS), lambda: client.get("/models"))
        client.post("/serve", {"model": "good", "name": "tiny", "scale": {"min": 1}})
        found.until(lambda: found.status()["status"] == "ready", "it is ready")
        yield found
