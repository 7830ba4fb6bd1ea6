"""The demo's path with the real vLLM: from login to an answer from zero, and what may go wrong on the way.

The tests build on each other's state (one engine start takes half a minute) and run in the order of this file.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from kn_model.client import Client
from kn_model.demo import story
from kn_model.demo.process import below
from kn_model.demo.runtime import RunningRuntime
from kn_model.failure import Exit, Failure
from kn_model.hub.smollm2 import REPOSITORY
from kn_model.records import ModelRecord, ServerRecord

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]
ENGINE = "functions.serve.engine"
# What gunicorn, which functions-framework starts, calls its processes.
FUNCTION = "gunicorn"
HELLO = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4, "temperature": 0}


def processes(running: RunningRuntime, word: str) -> list[psutil.Process]:
    """What runs below the runtime with `word` in its command line."""
    found = []
    for process in below(running.pid):
        try:
            if word in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def chat(client: Client, server: str, path: str = "/v1/chat/completions", token: str = "") -> httpx.Response:
    """One request to a server's OpenAI API with another credential, or none."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    url = f"{client.url}/m/{server}{path}"
    return httpx.post(url, json={**HELLO, "model": server}, headers=headers, timeout=60, trust_env=False)


def test_the_model_is_there_only_verified(model: ModelRecord) -> None:
    """Available means: every file whole, its sha256 known, the commit pinned."""
    files = model["files"] or []
    assert (model["status"], bool(model["revision"])) == ("available", True)
    assert [file for file in files if file["status"] != "verified" or file["bytes_done"] != file["size"]] == []
    assert {"config.json", "tokenizer.json"} <= {file["path"] for file in files}


def test_pulling_the_same_again_finds_the_same_model(client: Client, model: ModelRecord) -> None:
    """One download for many who ask."""
    again = client.post(
        "/models", {"source": f"hf://{REPOSITORY}", "serve": {"scale": story.SCALE, "params": story.PARAMS}}
    )
    assert again["uuid"] == model["uuid"]


def test_the_capital_of_france_is_paris(client: Client, server: ServerRecord) -> None:
    """A real model answers over the OpenAI API, streamed."""
    assert story.EXPECTED in story.ask(client, server["name"]).text


def test_the_answer_needs_a_credential(client: Client, server: ServerRecord) -> None:
    """None, a forged one and a wrong key are refused by the engine itself."""
    answers = [chat(client, server["name"], token=token).status_code for token in ("", "a.b.c", "tpk_wrong")]
    assert answers == [401, 401, 401]


def test_only_the_listed_paths_reach_the_engine(client: Client, server: ServerRecord) -> None:
    """The other routes of vLLM do not exist from outside."""
    key = client.post("/auth/keys", {"name": "paths"})["key"]
    paths = ["/metrics", "/v1/load_lora_adapter", "/tokenize", "/v1//chat/completions"]
    assert [chat(client, server["name"], path, key).status_code for path in paths] == [404] * len(paths)


def test_an_api_key_works_until_it_is_revoked(client: Client, server: ServerRecord) -> None:
    """A key limited to another model never works; a revoked one stops within its cached half minute."""
    good = client.post("/auth/keys", {"name": "good", "models": [server["name"]]})
    other = client.post("/auth/keys", {"name": "other", "models": ["another-model"]})
    assert chat(client, server["name"], token=good["key"]).status_code == 200
    assert chat(client, server["name"], token=other["key"]).status_code == 403
    client.delete(f"/auth/keys/{good['id']}")
    story.wait_until(
        lambda: chat(client, server["name"], token=good["key"]).status_code == 401, 60, lambda: "the key still works"
    )


def test_tokens_are_counted(client: Client, server: ServerRecord) -> None:
    """Usage of the answers above arrives in the ledger, by model, in and out."""

    def counted() -> bool:
        rows = client.items("/usage", "usage")
        return any(row["prompt_tokens"] > 0 and row["completion_tokens"] > 0 for row in rows)

    story.ask(client, server["name"])
    story.wait_until(counted, 90, lambda: f"/usage is {client.items('/usage', 'usage')}")


def test_kubectl_shows_what_runs(running: RunningRuntime, server: ServerRecord) -> None:
    """An unchanged kubectl reads the runtime's API."""
    command = [str(Path(sys.prefix) / "bin" / "kubectl"), "--kubeconfig", str(running.kubeconfig)]
    shown = subprocess.run(
        [*command, "get", "ksvc,trigger", "-o", "name"], check=True, capture_output=True, text=True, timeout=60
    ).stdout.split()
    expected = {
        f"service.serving.knative.dev/{name}" for name in ("auth", "download", "serve", "status", server["name"])
    }
    assert (expected - set(shown), any(name.startswith("trigger.eventing.knative.dev/") for name in shown)) == (
        set(),
        True,
    )


def test_a_served_model_is_not_deleted(client: Client, model: ModelRecord, server: ServerRecord) -> None:
    """Refused as long as a server uses it."""
    assert server["model_uuid"] == model["uuid"]
    with pytest.raises(Failure) as caught:
        client.delete(f"/models/{model['uuid']}")
    assert caught.value.code == Exit.REFUSED


def test_a_killed_engine_is_replaced(client: Client, running: RunningRuntime, server: ServerRecord) -> None:
    """After a kill -9 of the engine in mid-life the next question is answered by a new one."""
    story.ask(client, server["name"])
    engines = processes(running, ENGINE)
    for process in engines:
        process.kill()
    answer = story.ask(client, server["name"])
    assert (bool(engines), story.EXPECTED in answer.text) == (True, True)


def test_killed_functions_are_replaced(client: Client, running: RunningRuntime, model: ModelRecord) -> None:
    """After a kill -9 of every function, masters and workers, the next call starts what it needs."""
    client.get("/status")
    killed = processes(running, FUNCTION)
    for process in killed:
        process.kill()
    found = client.get(f"/models/{model['uuid']}", patience_s=30)
    assert (bool(killed), found["status"]) == (True, "available")


def test_an_installation_is_deployed_over_what_runs(running: RunningRuntime, folder: Path, hub_url: str) -> None:
    """`task deploy` renders, lets the API check, applies and waits, here as on any cluster; what runs goes on."""
    values = {"public-url": running.url, "hf-endpoint": hub_url}
    patch = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "torpor", "namespace": "torpor"}}
    installation = folder / "installation"
    installation.mkdir()
    text = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(ROOT / "knative" / "overlays" / "local", installation.resolve())],
        "patches": [{"patch": json.dumps({**patch, "data": values})}],
    }
    (installation / "kustomization.yaml").write_text(json.dumps(text), encoding="utf-8")
    deploy = [sys.executable, "-m", "kn_model.cluster.deploy", str(installation)]
    environment = {**os.environ, "KUBECONFIG": str(running.kubeconfig)}
    done = subprocess.run(deploy, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert (0, True) == (done.returncode, f"Torpor answers at {running.url}" in done.stderr), done.stdout + done.stderr


def test_the_smoke_test_passes_here(running: RunningRuntime) -> None:
    """`task smoke` knows a kubeconfig alone; asked, counted, asleep and awake again, through the overlay's manifests."""
    smoke = [sys.executable, "-m", "kn_model.demo.smoke"]
    environment = {**os.environ, "KUBECONFIG": str(running.kubeconfig)}
    done = subprocess.run(smoke, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_sleeps(running: RunningRuntime, server: ServerRecord) -> None:
    """Without callers no function and no model runs: nothing is left but the supervisor and its data servers."""
    story.fall_asleep(running, server["name"])
    assert processes(running, ENGINE) == []


def test_what_is_removed_is_gone(
    client: Client, running: RunningRuntime, server: ServerRecord, model: ModelRecord
) -> None:
    """`kn model rm --all`: the Knative Service, the engine's process and the model's record."""
    client.delete(f"/serve/{server['name']}")
    story.wait_until(lambda: not processes(running, ENGINE), 60, running.awake)
    story.wait_until(lambda: _status(client, f"/status/{server['uuid']}") == "deleted", 60, lambda: "the record stays")
    client.delete(f"/models/{model['uuid']}")
    story.wait_until(lambda: client.items("/models", "models") == [], 60, lambda: "the model stays listed")


def _status(client: Client, path: str) -> str:
    return str(client.get(path)["status"])
