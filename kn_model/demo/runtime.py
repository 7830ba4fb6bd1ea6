"""A laptop runtime of the demo's own (and of the acceptance tests): started by `kn model up`, ended with the block."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from kn_model import laptop
from kn_model.client import Client
from kn_model.demo.process import ended_with_us, instances
from kn_model.failure import Exit, Failure
from kn_model.local import child, ports, state
from kn_model.session import log_in_to_laptop
from kn_model.waiting import Say, announced

# PostgreSQL, S3, the manifests and the setup Job: about ten seconds; a slow disk makes it more.
_READY_WITHIN_S: Final = 180.0
_POLL_S: Final = 0.2
REVISIONS: Final = f"/apis/serving.knative.dev/v1/namespaces/{laptop.NAMESPACE}/revisions"


@dataclass(frozen=True, slots=True)
class RunningRuntime:
    """A runtime that is ready."""

    folder: Path
    pid: int
    url: str
    kube_url: str

    @property
    def kubeconfig(self) -> Path:
        """For kubectl."""
        return self.folder / "kubeconfig"

    def log_in(self) -> Client:
        """A client with the generated administrator's token, renewed when it expires."""
        runtime = laptop.running(self.folder)
        context = log_in_to_laptop(runtime)
        return Client(context.url, context.token, renew=lambda: log_in_to_laptop(runtime).token)

    def awake(self, server: str = "") -> str:  # noqa: ARG002  # everything sleeps, not only one server
        """Revisions with replicas and processes beside the data servers, for a message; empty when all of it sleeps."""
        revisions = [f"{name} ({count})" for name, count in self.replicas().items() if count]
        return ", ".join(revisions + instances(self.pid))

    def replicas(self) -> dict[str, int]:
        """Instances per revision, as the Kubernetes API says: asking it wakes no function."""
        access = laptop.cluster(self.kubeconfig)
        answer = httpx.get(f"{access.server}{REVISIONS}", headers=access.headers, verify=access.verify, trust_env=False)
        items: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
        return {item["metadata"]["name"]: int(item.get("status", {}).get("actualReplicas") or 0) for item in items}


@contextmanager
def runtime(
    folder: Path, settings: Mapping[str, str], say: Say, manifests: Path | None = None
) -> Iterator[RunningRuntime]:
    """`kn model up` in `folder` on a free port, with keys of the ConfigMap `torpor` set; `kn model down` at the end.

    manifests: another overlay than the laptop's own.
    """
    (port,) = ports.free(1)
    options = [text for name, value in settings.items() for text in ("--set", f"{name}={value}")]
    options += ["--manifests", str(manifests)] if manifests else []
    command = [sys.executable, "-m", "kn_model", "up", "--dir", str(folder), "--port", str(port), *options]
    log = folder.with_name(f"{folder.name}.log")
    with ended_with_us(command, log=log, env=os.environ) as process:
        with announced("starting PostgreSQL, S3 and the functions", say):
            found = _ready(folder, log, process.poll)
        yield RunningRuntime(folder, found.pid, found.url, found.kube_url)


def _ready(folder: Path, log: Path, ended: Any) -> state.Runtime:
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline:
        if found := state.read(folder):
            return found
        if ended() is not None:
            break
        time.sleep(_POLL_S)
    raise Failure(
        "the runtime did not start",
        why=child.last_line(log) or "It said nothing.",
        do=f"All of its output is in {log}.",
        code=Exit.NOT_RUNNING,
    )
