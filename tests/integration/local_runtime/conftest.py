"""A laptop runtime without its databases and functions: store, Serving and front door, with real processes."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientSession, web

from kn_model.local.addresses import Addresses
from kn_model.local.admission import admit as admission
from kn_model.local.admission import supported
from kn_model.local.api import app as api
from kn_model.local.api import certificate
from kn_model.local.api.cluster import Cluster
from kn_model.local.door import proxy
from kn_model.local.door.directory import Directory
from kn_model.local.door.frontdoor import FrontDoor, application
from kn_model.local.listener import listen, port_of
from kn_model.local.objects import kinds
from kn_model.local.objects.conditions import read
from kn_model.local.objects.storage import MemoryStorage, Storage
from kn_model.local.objects.store import ObjectStore
from kn_model.local.own_deliveries import OwnDeliveries
from kn_model.local.ports import free
from kn_model.local.serving.gpus import Gpus
from kn_model.local.serving.launcher import Folders, Launcher
from kn_model.local.serving.pod_plan import Machine
from kn_model.local.serving.reconciler import Serving

KUBECTL = Path(sys.executable).with_name("kubectl")
TOKEN = "administrator's"
Kubectl = Callable[..., Coroutine[Any, Any, tuple[int, str]]]
ECHO = Path(__file__).with_name("echo_app.py")


def echo(
    name: str, *, annotations: Mapping[str, str] | None = None, env: Mapping[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    """A Knative Service that runs the echo app; `spec` goes into the template's spec, `traffic` beside it."""
    traffic = {"traffic": spec.pop("traffic")} if "traffic" in spec else {}
    container = {
        "name": "user-container",
        "image": "echo",
        "command": ["python", str(ECHO)],
        "env": [{"name": key, "value": value} for key, value in (env or {}).items()],
    } | spec.pop("container", {})
    template = {
        "metadata": {"annotations": dict(annotations or {})},
        "spec": {"containers": [container], "timeoutSeconds": 30} | spec,
    }
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "torpor"},
        "spec": {"template": template} | traffic,
    }


@dataclass
class Runtime:
    """What a test speaks to."""

    store: ObjectStore
    serving: Serving
    url: str
    client: ClientSession
    folder: Path
    runner: web.AppRunner
    to_instances: ClientSession
    door: FrontDoor

    async def stop(self) -> None:
        """As the supervisor stops it."""
        await self.serving.stop()
        await self.runner.cleanup()
        await self.client.close()
        await self.to_instances.close()

    async def get(self, path: str, **headers: str) -> Any:
        """The JSON answer of a call that has to succeed."""
        async with self.client.get(self.url + path, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def status(self, path: str, method: str = "GET", **headers: str) -> tuple[int, Any]:
        """Status and JSON of a call."""
        async with self.client.request(method, self.url + path, headers=headers) as answer:
            return answer.status, json.loads(await answer.text() or "null")

    async def until(self, holds: Callable[[], bool], what: str, timeout_s: float = 40) -> None:
        """Wait until something in the store holds."""
        async with asyncio.timeout(timeout_s):
            while not holds():  # noqa: ASYNC110  # any change of the store may be the one
                await asyncio.sleep(0.05)
        assert holds(), what

    async def ready(self, name: str) -> dict[str, Any]:
        """Wait until a Service is Ready for its present generation, as `kn` does."""

        def holds() -> bool:
            service = self.store.get(kinds.SERVICE, "torpor", name)
            observed = (service.get("status") or {}).get("observedGeneration")
            return observed == service["metadata"]["generation"] and read(service).status is True

        await self.until(holds, f"{name} becomes ready")
        return self.store.get(kinds.SERVICE, "torpor", name)

    async def at_zero(self, revision: str) -> None:
        """Wait until a revision has no instance."""
        await self.until(
            lambda: self.store.get(kinds.REVISION, "torpor", revision)["status"]["actualReplicas"] == 0,
            "scales to zero",
        )

    def log(self, service: str) -> str:
        """What all instances of a service said."""
        return "".join(file.read_text() for file in sorted((self.folder / "logs" / service).glob("*.log")))


async def start(folder: Path, storage: Storage, gpus: Gpus | None = None) -> Runtime:
    """Start a runtime; the same storage again plays a restart."""
    store = ObjectStore(storage)
    await store.open()
    port = free(1)[0]
    addresses = Addresses(front=f"http://127.0.0.1:{port}", kube="http://127.0.0.1:1")
    machine = Machine(addresses, sys.executable, folder, os.environ)
    folders = Folders(folder / "logs", folder / "pods", lambda _namespace, _account: None)
    directory = Directory()
    serving = Serving(store, Launcher(machine, folders, store.find, gpus or Gpus([])), addresses, directory)
    session = proxy.client()
    door = FrontDoor(directory, store, session, OwnDeliveries(addresses.front))
    runner = await listen(application(door), port)
    await serving.start()
    return Runtime(store, serving, addresses.front, ClientSession(), folder, runner, session, door)


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[Runtime]:
    """A runtime with nothing in it."""
    running = await start(tmp_path, MemoryStorage())
    yield running
    await running.stop()


@pytest.fixture(name="echo")
def echo_factory() -> Callable[..., dict[str, Any]]:
    """Makes Services that run the echo app."""
    return echo


@pytest.fixture
def quick() -> Mapping[str, str]:
    """Annotations for a window shorter than Knative's webhook would let pass: none stands before this store."""
    return {"autoscaling.knative.dev/window": "2s"}


@pytest.fixture
def start_runtime() -> Any:
    """Starts a runtime on given storage: what a test of restarts needs."""
    return start


@pytest.fixture
async def kubectl(runtime: Any, tmp_path: Path) -> AsyncIterator[Kubectl]:
    """Runs kubectl with a kubeconfig: (exit code, output); `stdin` is what it reads. `begin` leaves it running."""
    tls = certificate.ensure(tmp_path / "tls")
    cluster = Cluster(runtime.store, admission.admit, supported.check)
    app = api.application(cluster, {TOKEN: "kubernetes-admin"}.get)
    runner = await listen(app, 0, tls=tls.context())
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [
            {
                "name": "c",
                "cluster": {"server": f"https://127.0.0.1:{port_of(runner)}", "certificate-authority": str(tls.ca)},
            }
        ],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "torpor"}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    environment = os.environ | {"KUBECONFIG": str(tmp_path / "kubeconfig"), "HOME": str(tmp_path)}

    async def begin(*words: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            str(KUBECTL), *words, env=environment, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT
        )

    async def run(*words: str, stdin: str = "") -> tuple[int, str]:
        process = await begin(*words)
        output, _ = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
        assert process.returncode is not None
        return process.returncode, output.decode()

    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "torpor"}}
    await runtime.store.create(namespace)
    run.server = config["clusters"][0]["cluster"]["server"]  # type: ignore[attr-defined,index]
    run.begin = begin  # type: ignore[attr-defined]
    yield run
    await runner.cleanup()
