"""The runtime under test: started as `kn model up` starts it, killed, started again, and asked what it holds.

It lies in one folder; a run's manifests are the laptop's with four differences: events go through the harness's wire,
servers have the stub engine, transfers are cut small, and the tick comes every ten seconds.
"""

import asyncio
import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import yaml
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from functions.kit.objects import S3Objects
from functions.kit.settings import Secret
from kn_model import laptop
from kn_model.local import child, ports, render, state
from kn_model.local.options import CLONE

BROKER: Final = "http://broker-ingress.knative-eventing.svc.cluster.local/torpor/default"
TICK: Final = "*/10 * * * * *"
READY_WITHIN_S: Final = 120.0
# A start that fails is tried again, as a person would; this often in a row it is a finding.
STARTS: Final = 4
QUERY_S: Final = 30.0
# Between the end of a process and the word of who ended it.
SETTLING_S: Final = 0.2


class NotStarting(Exception):
    """The runtime does not start any more."""


@dataclass
class World:
    """One runtime in `folder`; `broker` is where its functions send events, `hub` where its models come from."""

    folder: Path
    broker: str
    hub: str
    port: int = field(default_factory=lambda: ports.free(1)[0])
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict, init=False)
    starts_s: list[float] = field(default_factory=list, init=False)
    failed_starts: int = field(default=0, init=False)
    findings: list[str] = field(default_factory=list, init=False)
    up: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _api: ClientSession | None = field(default=None, init=False)
    _kube: str = field(default="", init=False)
    _database: Any = field(default=None, init=False)
    _bucket: S3Objects | None = field(default=None, init=False)
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    @property
    def front(self) -> str:
        """The front door: the same over all starts."""
        return f"http://{ports.LOOPBACK}:{self.port}"

    @property
    def logs(self) -> Path:
        """Where everything that the runtime starts writes."""
        return self.folder / "runtime" / "logs"

    def prepare(self) -> None:
        """Write the manifests of this run."""
        manifests = self.folder / "manifests"
        manifests.mkdir(parents=True)
        objects = render.render(CLONE / "knative" / "overlays" / "local")
        for each in objects:
            _change(each)
        text = yaml.safe_dump_all(objects, sort_keys=False).replace(BROKER, self.broker)
        (manifests / "all.yaml").write_text(text)
        (manifests / "kustomization.yaml").write_text(yaml.safe_dump({"resources": ["all.yaml"]}))

    async def start(self) -> None:
        """Start it, again if need be; return when it is ready. Raises NotStarting."""
        for _ in range(STARTS):
            began = time.monotonic()
            self.process = child.start(self._command())
            if await self._ready() and await self._reached():
                self.starts_s.append(time.monotonic() - began)
                self.up.set()
                return
            self.failed_starts += 1
            self.kill()
        raise NotStarting(f"{STARTS} starts in a row failed: {child.last_line(self.folder / 'up.log')}")

    def kill(self) -> None:
        """SIGKILL the supervisor, which is the broker, the door, the activator and the API as well."""
        self.up.clear()
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    async def watch(self) -> None:
        """Start it again when it ends by itself, which is a finding: it survives whatever befalls what it starts."""
        while True:
            await self.up.wait()
            process = self.process
            if process is not None:
                code = await child.exited(process)
                if self.up.is_set() and process is self.process:
                    self.up.clear()
                    self.findings.append(f"it ended by itself ({code}): {child.last_line(self.folder / 'up.log')}")
                    await self.start()
            await asyncio.sleep(SETTLING_S)

    async def stop(self) -> None:
        """An orderly end."""
        self.up.clear()
        if self.process is not None:
            await child.stop(self.process, ask=signal.SIGTERM, grace_s=40)
        await self._leave()

    async def sql(self, query: str, *arguments: object) -> list[Any]:
        """Rows of the runtime's database. Raises OSError or asyncpg's errors when it is down."""
        async with self._asking:
            if self._database is None or self._database.is_closed():
                self._database = await asyncpg.connect(self.secrets["torpor-postgres"]["url"], timeout=5)
            return list(await self._database.fetch(query, *arguments, timeout=QUERY_S))

    async def objects(self, path: str) -> list[dict[str, Any]]:
        """A list of the Kubernetes API."""
        found: list[dict[str, Any]] = (await self._get(path))["items"]
        return found

    def bucket(self) -> S3Objects:
        """The runtime's S3."""
        if self._bucket is None:
            told = self.secrets["torpor-s3"]
            keys = (Secret(told["access-key"]), Secret(told["secret-key"]))
            self._bucket = S3Objects(told["endpoint"], told["region"], *keys, told["bucket"])
        return self._bucket

    def _command(self) -> child.Command:
        up = [sys.executable, "-m", "kn_model", "up", "--dir", str(self.folder / "runtime"), "--port", str(self.port)]
        options = ["--manifests", str(self.folder / "manifests"), "--set", f"hf-endpoint={self.hub}"]
        return child.Command([*up, *options], os.environ, self.folder / "up.log", death_signal=signal.SIGTERM)

    async def _ready(self) -> bool:
        deadline = time.monotonic() + READY_WITHIN_S
        while self.process is not None and self.process.poll() is None and time.monotonic() < deadline:
            if state.read(self.folder / "runtime"):
                return True
            await asyncio.sleep(0.05)
        return False

    async def _reached(self) -> bool:
        """Whether it still answers: it may be killed as soon as it is ready."""
        try:
            await self._reach()
        except (ClientError, OSError, TimeoutError):
            return False
        return True

    async def _reach(self) -> None:
        """Its addresses and secrets: PostgreSQL and the API have new ports after every start."""
        await self._leave()
        self._bucket = None
        access = laptop.cluster(self.folder / "runtime" / "kubeconfig")
        self._kube = access.server
        self._api = ClientSession(
            headers=dict(access.headers), connector=TCPConnector(ssl=access.verify), timeout=ClientTimeout(total=30)
        )
        for secret in await self.objects("/api/v1/namespaces/torpor/secrets"):
            data = secret.get("data") or {}
            self.secrets[secret["metadata"]["name"]] = {
                name: base64.b64decode(value).decode() for name, value in data.items()
            }

    async def _leave(self) -> None:
        if self._database is not None:
            self._database.terminate()
            self._database = None
        if self._api is not None:
            await self._api.close()
            self._api = None

    async def _get(self, path: str) -> Any:
        if self._api is None:
            raise ConnectionError("the runtime is down")
        async with self._api.get(f"{self._kube}{path}") as answer:
            answer.raise_for_status()
            return await answer.json()


def _change(each: Any) -> None:
    """The differences from the laptop's own manifests, but for the Broker's address."""
    name = each["metadata"]["name"]
    if each["kind"] == "PingSource":
        each["spec"]["schedule"] = TICK
    if each["kind"] != "Service" or not each["apiVersion"].startswith("serving."):
        return
    env = each["spec"]["template"]["spec"]["containers"][0]["env"]
    extra: Mapping[str, Mapping[str, str]] = {
        # Relative, since an absolute path below /tmp would mean the container's own.
        "serve": {
            "TORPOR_RUNTIMES_DIR": "tests/runtimes",
            # However often somebody is killed on the way: what is given up would be asked for once more.
            "TORPOR_INFERENCE_ATTEMPTS": "1000",
        },
        "download": {"TORPOR_PART_BYTES": str(5 * 1024 * 1024), "TORPOR_SLICE_SECONDS": "2"},
    }
    env += [{"name": key, "value": value} for key, value in extra.get(name, {}).items()]
