"""What the manifest tests look at: overlays and examples rendered by the real kubectl, and the files they are made of."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests import goldens

ROOT = Path(__file__).parents[2]
CRDS = ROOT.parent / "shared" / "crds"

Object = dict[str, Any]
Render = Callable[[str], Sequence[Object]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `overlay` runs once per overlay, and per example of an installation."""
    if "overlay" in metafunc.fixturenames:
        metafunc.parametrize("overlay", goldens.folders())


@pytest.fixture
def render() -> Render:
    """`render("local")`: the objects of an overlay."""
    return goldens.rendered


@pytest.fixture
def objects(overlay: str) -> Sequence[Object]:
    """The objects of the overlay that the test runs for."""
    return goldens.rendered(overlay)


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
