"""`kn model up` as a process of its own: one per folder, ends with its children, goes on where it stopped."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from kn_model.local import ports, state

WAIT_S = 120
OVERLAY = {
    "kustomization.yaml": "resources: [namespace.yaml, config.yaml, broker.yaml, job.yaml]\n",
    "namespace.yaml": "{apiVersion: v1, kind: Namespace, metadata: {name: torpor}}\n",
    "config.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: torpor, namespace: torpor}, data: {a: b}}\n",
    "broker.yaml": "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: default, namespace: torpor}}\n",
    "job.yaml": """
apiVersion: batch/v1
kind: Job
metadata: {name: setup, namespace: torpor}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
        - {name: setup, image: any, command: [python, -c, "print('set up')"]}
""",
}


@dataclass
class Up:
    """A runtime in `folder`, with what it prints."""

    folder: Path
    manifests: Path
    port: int = field(default_factory=lambda: ports.free(1)[0])
    process: asyncio.subprocess.Process | None = None
    said: list[str] = field(default_factory=list)

    async def start(self, *arguments: str) -> None:
        """Start it, without waiting."""
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kn_model", "up", "--dir", str(self.folder), "--port", str(self.port)),
            *("--manifests", str(self.manifests), *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def ready(self) -> None:
        """Wait for its ready line."""
        await self._read(until="ready:")

    async def ended(self) -> int:
        """Wait for its end; its exit code."""
        await self._read(until=None)
        assert self.process is not None
        async with asyncio.timeout(WAIT_S):
            return await self.process.wait()

    async def _read(self, until: str | None) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            while line := (await self.process.stdout.readline()).decode():
                self.said.append(line.rstrip())
                if until is not None and line.startswith(until):
                    return
        assert until is None, "\n".join(self.said)

    def children(self) -> list[psutil.Process]:
        """Every process that it has started and that still runs."""
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kubectl(self, *arguments: str, text: str = "") -> str:
        """What kubectl says with the runtime's kubeconfig."""
        program = Path(sys.prefix) / "bin" / "kubectl"
        command = [str(program), f"--kubeconfig={self.folder / 'kubeconfig'}", *arguments]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    """A runtime that is not started yet, with small manifests; ended after the test whatever happens."""
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    for name, text in OVERLAY.items():
        (manifests / name).write_text(text)
    made = Up(tmp_path / ".torpor", manifests)
    yield made
    if made.process is not None and made.process.returncode is None:
        made.signal(signal.SIGKILL)
        await made.ended()


async def test_it_ends_in_order_and_leaves_nobody(up: Up) -> None:
    """SIGTERM: exit code 0 and no process left."""
    await up.start()
    await up.ready()
    children = up.children()
    up.signal(signal.SIGTERM)
    code = await up.ended()
    assert (code, _alive(children), state.is_held(up.folder)) == (0, [], False)


async def test_a_second_signal_ends_it_at_once(up: Up) -> None:
    """Ctrl-C twice does not wait for anybody, and still leaves nobody."""
    await up.start()
    await up.ready()
    children = up.children()
    up.signal(signal.SIGINT)
    await up._read(until="stopping")
    up.signal(signal.SIGINT)
    await up.ended()
    await _gone(children)


async def test_kill_9_leaves_nobody_and_the_next_start_goes_on(up: Up) -> None:
    """No orphan after kill -9; what was stored is there after the next start."""
    await up.start()
    await up.ready()
    up.kubectl("apply", "-f", "-", text="{apiVersion: v1, kind: ConfigMap, metadata: {name: made, namespace: torpor}}")
    secret = up.kubectl("get", "secret", "torpor-auth", "-o", "jsonpath={.data}")
    children = up.children()
    up.signal(signal.SIGKILL)
    await up.ended()
    await _gone(children)
    stale = state.read(up.folder)
    await up.start()
    await up.ready()
    assert stale is None
    assert up.kubectl("get", "configmap", "made", "-o", "name") == "configmap/made\n"
    assert up.kubectl("get", "secret", "torpor-auth", "-o", "jsonpath={.data}") == secret


async def test_what_an_earlier_run_left_is_ended(up: Up) -> None:
    """A grandchild that outlived kill -9 (here: one that writes to a log of the folder) does not outlive the next start."""
    up.folder.mkdir()
    (up.folder / "logs").mkdir()
    with (up.folder / "logs" / "engine.log").open("wb") as log:
        stray = await asyncio.create_subprocess_exec("sleep", "600", stdout=log)
    await up.start()
    code = await asyncio.wait_for(stray.wait(), WAIT_S)
    await up.ready()
    assert code == -signal.SIGKILL


async def test_what_left_the_manifests_is_removed(up: Up) -> None:
    """A manifest that is gone takes its object with it; a changed value arrives; what people made stays."""
    await up.start()
    await up.ready()
    up.kubectl("apply", "-f", "-", text="{apiVersion: v1, kind: ConfigMap, metadata: {name: made, namespace: torpor}}")
    up.signal(signal.SIGTERM)
    await up.ended()
    (up.manifests / "kustomization.yaml").write_text("resources: [namespace.yaml, config.yaml]\n")
    await up.start("--set", "a=c")
    await up.ready()
    assert up.kubectl("get", "broker", "-o", "name") == ""
    assert up.kubectl("get", "configmap", "made", "-o", "name") == "configmap/made\n"
    assert up.kubectl("get", "configmap", "torpor", "-o", "jsonpath={.data.a}") == "c"


async def test_a_second_runtime_in_the_folder_is_refused(up: Up) -> None:
    """It names the process that runs there, and that one goes on."""
    await up.start()
    await up.ready()
    second = Up(up.folder, up.manifests)
    await second.start()
    code = await second.ended()
    assert up.process is not None
    assert (code, f"pid {up.process.pid}" in second.said[-1], up.process.returncode) == (1, True, None)


async def test_a_taken_port_is_named(up: Up) -> None:
    """The message has the port and the option that changes it."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", up.port))
        other.listen()
        await up.start()
        code = await up.ended()
    said = up.said[-1]
    assert (code, str(up.port) in said, "--port" in said) == (1, True, True)


async def test_an_unsupported_field_is_refused_by_name(up: Up) -> None:
    """Nothing is started for a manifest that would not be honoured."""
    service = """
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: one, namespace: torpor}
spec: {template: {spec: {hostNetwork: true, containers: [{image: any, command: [python]}]}}}
"""
    (up.manifests / "namespace.yaml").write_text(service)
    await up.start()
    code = await up.ended()
    said = "\n".join(up.said)
    assert (code, "Service/one: spec.template.spec.hostNetwork" in said) == (1, True)


async def test_a_job_that_fails_says_why(up: Up) -> None:
    """Its last words are the message."""
    job = (up.manifests / "job.yaml").read_text().replace("print('set up')", "raise SystemExit('no tables today')")
    (up.manifests / "job.yaml").write_text(job)
    await up.start()
    code = await up.ended()
    assert (code, "no tables today" in "\n".join(up.said)) == (1, True)


@pytest.mark.parametrize("program", ["postgres", "weed"])
async def test_a_killed_dependency_comes_back(up: Up, program: str) -> None:
    """The runtime says so, starts it again on its old address, and goes on with its data."""
    await up.start()
    await up.ready()
    (victim,) = (child for child in up.children() if child.name() == program and child.ppid() == _pid(up))
    victim.kill()
    await up._read(until={"postgres": "PostgreSQL", "weed": "SeaweedFS"}[program] + " runs again")
    up.kubectl("apply", "-f", "-", text="{apiVersion: v1, kind: ConfigMap, metadata: {name: made, namespace: torpor}}")
    assert up.kubectl("get", "configmap", "made", "-o", "name") == "configmap/made\n"


async def test_only_loopback_is_listened_on(up: Up) -> None:
    """Nothing of the runtime can be reached from another machine."""
    await up.start()
    await up.ready()
    own = [psutil.Process(_pid(up)), *up.children()]
    addresses = {each.laddr.ip for process in own for each in process.net_connections() if each.status == "LISTEN"}
    assert addresses == {"127.0.0.1"}


def _pid(up: Up) -> int:
    assert up.process is not None
    return up.process.pid


def _alive(processes: Iterable[psutil.Process]) -> list[Any]:
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


async def _gone(processes: Iterable[psutil.Process]) -> None:
    """Wait until none of them runs."""
    _, left = await asyncio.to_thread(psutil.wait_procs, list(processes), 30)
    assert left == []
