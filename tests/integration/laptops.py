"""What tests with a laptop runtime of their own share: it, its manifests with a change, its Secrets and its database."""

import asyncio
import base64
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import pytest
import yaml

from kn_model import laptop
from kn_model.demo.runtime import RunningRuntime, runtime
from tests.integration.traces.repository import hub_with_a_model

ROOT: Final = Path(__file__).parents[2]
# Instead of every minute, for tests of what a tick does.
OFTEN: Final = "*/2 * * * * *"
# Of whatever is waited for; a busy machine takes long to start engines.
WITHIN_S: Final = 150


@contextmanager
def own_laptop(
    engine: str,
    serve: Mapping[str, str],
    *,
    settings: Mapping[str, str] | None = None,
    of: str = "local",
    tick: str | None = None,
) -> Iterator[RunningRuntime]:
    """A runtime in a folder of its own, whose hub has `hf://acme/model`; whoever logs in does so there alone.

    engine: the runtime that models are served with, which only pretends. settings: more keys of the ConfigMap.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="torpor-")))
        stack.enter_context(pytest.MonkeyPatch.context()).setenv("XDG_CONFIG_HOME", str(folder / "config"))
        hub = stack.enter_context(hub_with_a_model(folder / "hub"))
        keys = {"hf-endpoint": hub, "default-runtime": engine, **(settings or {})}
        manifests = overlay(folder, serve, of=of, tick=tick)
        yield stack.enter_context(runtime(folder / "runtime", keys, print, manifests=manifests))


def until(holds: Callable[[], Any], what: Callable[[], object], every_s: float = 0.1) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(every_s)


def rows(running: RunningRuntime, query: str, *arguments: object) -> list[Any]:
    """Rows of the runtime's database."""

    async def fetch() -> list[Any]:
        connection = await asyncpg.connect(secrets(running)["torpor-postgres"]["url"])
        try:
            return list(await connection.fetch(query, *arguments))
        finally:
            await connection.close()

    return asyncio.run(fetch())


def overlay(folder: Path, serve: Mapping[str, str], *, of: str = "local", tick: str | None = None) -> Path:
    """An overlay on one of the repository's. serve: variables of the function `serve`; tick: another schedule.

    A folder in a variable is named from the clone, where functions run: a path below /tmp would be one of the pod's own.
    """
    manifests = folder / "manifests"
    manifests.mkdir()
    base = os.path.relpath(ROOT / "knative" / "overlays" / of, manifests.resolve())
    variable = "/spec/template/spec/containers/0/env/-"
    added = [{"op": "add", "path": variable, "value": {"name": name, "value": text}} for name, text in serve.items()]
    patches = [_patch({"group": "serving.knative.dev", "kind": "Service", "name": "serve"}, added)]
    if tick:
        schedule = [{"op": "replace", "path": "/spec/schedule", "value": tick}]
        patches.append(_patch({"kind": "PingSource", "name": "tick"}, schedule))
    kind = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    document = {**kind, "resources": [base], "patches": patches}
    (manifests / "kustomization.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return manifests


def _patch(target: Mapping[str, str], operations: list[dict[str, Any]]) -> dict[str, Any]:
    return {"target": dict(target), "patch": yaml.safe_dump(operations)}


def secrets(running: RunningRuntime) -> dict[str, dict[str, str]]:
    """All Secrets of the namespace, decoded, by name."""
    access = laptop.cluster(running.kubeconfig)
    url = f"{access.server}/api/v1/namespaces/{laptop.NAMESPACE}/secrets"
    items = httpx.get(url, headers=access.headers, verify=access.verify, trust_env=False).raise_for_status().json()
    return {each["metadata"]["name"]: _decoded(each.get("data") or {}) for each in items["items"]}


def _decoded(data: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64decode(text).decode() for key, text in data.items()}
