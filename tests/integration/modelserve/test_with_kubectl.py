"""A person, kubectl and a ModelServe, on the whole laptop runtime: nothing but the engine only pretends.

One runtime, one rich story, since a runtime takes seconds to start.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from kn_model import laptop
from kn_model.demo.runtime import RunningRuntime
from kn_model.session import log_in_to_laptop
from tests.integration.laptops import WITHIN_S, own_laptop, until


@dataclass
class Laptop:
    """A running runtime and the person before it."""

    running: RunningRuntime
    token: str

    def kubectl(self, *words: str, text: str = "") -> tuple[int, str]:
        """Exit code and output."""
        command = ["kubectl", "--kubeconfig", str(self.running.kubeconfig), "--namespace", laptop.NAMESPACE, *words]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path}
        )
        return done.returncode, done.stdout + done.stderr

    def apply(self, **spec: Any) -> str:
        """Apply the ModelServe named `mine`."""
        annotations = {"model.torpor.dev/auth-token": self.token}
        obj = {
            "apiVersion": "model.torpor.dev/v1alpha1",
            "kind": "ModelServe",
            "metadata": {"name": "mine", "annotations": annotations},
            "spec": spec,
        }
        code, said = self.kubectl("apply", "-f", "-", text=yaml.safe_dump(obj))
        assert code == 0, said
        return said.strip()

    def row(self) -> list[str]:
        """What `kubectl get modelserves` prints of it."""
        return self.kubectl("get", "modelserves", "--no-headers")[1].split()

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds."""
        until(holds, lambda: f"{what}: {self.kubectl('get', 'ms,ksvc', '-o', 'yaml')[1]}", every_s=0.3)

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """POST to the front door."""
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx.post(f"{self.running.url}{path}", json=body, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def person() -> Iterator[Laptop]:
    """A laptop with a hub at hand that has one small model."""
    # serve knows the engine that only pretends.
    with own_laptop("stub", {"TORPOR_RUNTIMES_DIR": "tests/runtimes"}) as running:
        yield Laptop(running, log_in_to_laptop(laptop.running(running.folder)).token)


def test_the_life_of_a_modelserve(person: Laptop) -> None:
    """Made before its model is there; served when that comes; changed; and gone with its server."""
    assert person.apply(modelName="model", scale={"windowSeconds": 6}) == "modelserve.model.torpor.dev/mine created"
    person.until(lambda: person.row()[1:3] == ["False", "ModelNotFound"], "it says that there is no such model")

    answer = person.post("/models", {"source": "hf://acme/model"})
    assert answer.status_code == 202, answer.text
    code, said = person.kubectl("wait", "--for=condition=Ready", "modelserve/mine", f"--timeout={WITHIN_S}s")
    assert code == 0, said
    name, model, state, ready, reason, replicas, url, _ = person.row()
    assert (name, model, ready) == ("mine", "model", "True")
    assert (state, reason, replicas) in {("ready", "Serving", "1"), ("asleep", "Asleep", "0")}
    asked = httpx.post(
        f"{url}/chat/completions",
        json={"model": "mine", "messages": [{"role": "user", "content": "Hello"}]},
        headers={"authorization": f"Bearer {person.token}"},
        timeout=60,
    )
    assert asked.status_code == 200, asked.text
    person.until(lambda: person.row()[2:5] == ["asleep", "True", "Asleep"], "it goes to sleep")

    assert person.apply(modelName="model", replicas=2, scale={"windowSeconds": 6}).endswith("configured")
    scale = "jsonpath={.spec.template.metadata.annotations.autoscaling\\.knative\\.dev/max-scale}"
    person.until(lambda: person.kubectl("get", "ksvc/mine", "-o", scale) == (0, "2"), "the change arrives")
    code, said = person.kubectl(
        "wait", "--for=jsonpath={.status.observedGeneration}=2", "modelserve/mine", f"--timeout={WITHIN_S}s"
    )
    assert code == 0, said

    assert person.kubectl("delete", "modelserve", "mine")[0] == 0
    person.until(lambda: "mine" not in person.kubectl("get", "ksvc,httproute")[1], "its server goes")
    assert person.token not in _logs(person.running)


def _logs(running: RunningRuntime) -> str:
    """What all functions and engines logged."""
    return "".join(file.read_text() for file in sorted((running.folder / "logs").glob("*/*.log")))
