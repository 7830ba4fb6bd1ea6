"""What tests with a laptop runtime of their own share: manifests with a change, and the Secrets that it made."""

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from kn_model import laptop
from kn_model.demo.runtime import RunningRuntime

ROOT: Final = Path(__file__).parents[2]
# Instead of every minute, for tests of what a tick does.
OFTEN: Final = "*/10 * * * * *"


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
