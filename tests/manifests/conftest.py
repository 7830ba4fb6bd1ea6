"""What the manifest tests look at: overlays rendered by the real kubectl, and the files they are made of."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CRDS = ROOT.parent / "shared" / "crds"

Object = dict[str, Any]
Render = Callable[[str], Sequence[Object]]


def overlays() -> Sequence[str]:
    """Every overlay of the repository, by name."""
    return sorted(path.parent.name for path in ROOT.glob("knative/overlays/*/kustomization.yaml"))


@cache
def _rendered(overlay: str) -> Sequence[Object]:
    program = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or "kubectl"
    command = [program, "kustomize", str(ROOT / "knative" / "overlays" / overlay)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return list(yaml.safe_load_all(text))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `overlay` runs once per overlay."""
    if "overlay" in metafunc.fixturenames:
        metafunc.parametrize("overlay", overlays())


@pytest.fixture
def render() -> Render:
    """`render("local")`: the objects of an overlay."""
    return _rendered


@pytest.fixture
def objects(overlay: str) -> Sequence[Object]:
    """The objects of the overlay that the test runs for."""
    return _rendered(overlay)


@pytest.fixture(scope="session")
def files() -> Sequence[Path]:
    """Every manifest file: knative/ and eventing/ without kustomizations and generated schemas."""
    found = [path for folder in ("knative", "eventing") for path in sorted((ROOT / folder).rglob("*.yaml"))]
    return [path for path in found if path.name != "kustomization.yaml"]


@pytest.fixture(scope="session")
def crd_schemas() -> dict[tuple[str, str], Object]:
    """(apiVersion, kind) -> the schema that a cluster's API server applies; skips where the CRDs are not at hand."""
    if not CRDS.is_dir():
        pytest.skip(f"the CRDs of Knative and the Gateway API are not in {CRDS}: schemas are not checked")
    found = {}
    for path in CRDS.glob("*.yaml"):
        for document in filter(None, yaml.safe_load_all(path.read_text(encoding="utf-8"))):
            spec = document["spec"]
            for version in spec["versions"]:
                name = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
                found[name] = version["schema"]["openAPIV3Schema"]
    return found
