"""Every object passes Knative's webhooks, and the laptop runtime honours every field of the local overlay."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from kn_model.local.admission.admit import Denied, admit
from kn_model.local.admission.config import ClusterConfig
from kn_model.local.admission.supported import check, page
from tests.manifests import goldens

Object = dict[str, Any]
ROOT = Path(__file__).parents[2]


def test_a_fresh_cluster_admits_everything(overlay: str, objects: Sequence[Object]) -> None:
    """No overlay needs a feature that an administrator has to switch on."""
    for each in objects:
        if overlay != goldens.UNFINISHED or each["apiVersion"] != "serving.knative.dev/v1":
            assert each["metadata"]["name"] == admit(each)["metadata"]["name"]


def test_prod_by_itself_is_refused(render: Any) -> None:
    """By the webhook of every function, at `kubectl apply`: an image without its digest is no image."""
    services = [each for each in render(goldens.UNFINISHED) if each["apiVersion"] == "serving.knative.dev/v1"]
    assert len(services) == 4
    for each in services:
        with pytest.raises(Denied, match="Failed to parse image reference"):
            admit(each)


def test_the_laptop_honours_the_local_overlay(render: Any) -> None:
    """`kn model up` refuses what it does not honour, so nothing of its own overlay may be among that."""
    for each in render("local"):
        assert [] == check(each), each["metadata"]["name"]


def test_the_laptop_honours_what_admission_adds(render: Any) -> None:
    """Defaults are stored and written back by clients: they must not be refused then."""
    for each in render("local"):
        assert [] == check(admit(each)), each["metadata"]["name"]


def test_the_page_of_supported_fields_is_the_table() -> None:
    """docs/supported.md says what the code does; make it anew with `python -m kn_model.local.admission.supported`."""
    assert page() == (ROOT / "docs" / "supported.md").read_text(encoding="utf-8")


def test_the_administrators_patches_are_read_as_meant() -> None:
    """The patches of knative/components/cluster-config raise the limits that docs/cluster.md says they raise."""
    files = (ROOT / "knative" / "components" / "cluster-config").glob("*.yaml")
    maps = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in files]
    config = ClusterConfig.from_config_maps({each["metadata"]["name"]: each["data"] for each in maps})
    assert 3600 == config.max_timeout_s  # expected first
    assert config.has("kubernetes.podspec-nodeselector")
