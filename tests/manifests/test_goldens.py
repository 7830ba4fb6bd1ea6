"""What the manifests render to is what was last looked at, and what installations build on is complete."""

import re

import pytest
import yaml

from tests.manifests import goldens


@pytest.mark.parametrize("name", goldens.folders())
def test_the_render_is_the_one_that_was_reviewed(name: str) -> None:
    """Make it anew with `python -m tests.manifests.goldens`, and read the difference."""
    assert goldens.golden(name).read_text(encoding="utf-8") == goldens.text(name)


def test_no_golden_is_left_over() -> None:
    """A render of what is gone would be read as if it were there."""
    assert sorted(goldens.folders()) == sorted(path.stem for path in goldens.GOLDEN.glob("*.yaml"))


def test_kouriers_paths_are_those_of_the_routes() -> None:
    """Written by the same command: a new route is reached there too."""
    assert goldens.KOURIER.read_text(encoding="utf-8") == goldens.kourier_ingress()


def test_kouriers_paths_lead_to_nothing_that_is_internal() -> None:
    """A path there is a prefix, so none may be one of where events and dead letters are delivered."""
    (rule,) = yaml.safe_load(goldens.KOURIER.read_text(encoding="utf-8"))["spec"]["rules"]
    for path in rule["http"]["paths"]:
        method = path.get("headers", {}).get(":method", {}).get("exact", "POST")
        internal = [
            each for each in ("/events", "/deadletters", "/healthz", "/readyz") if each.startswith(path["path"])
        ]
        assert not internal or method != "POST", path["path"]


DIGEST = re.compile(r"@sha256:[0-9a-f]{64}")


def images(name: str) -> set[str]:
    """Every image that a render names, the engine's included."""
    found = re.findall(r"^\s*(?:image|engine-image): (\S+)$", goldens.text(name), re.MULTILINE)
    return {image for image in found if image != '""'}


@pytest.mark.parametrize(
    "name", [name for name, folder in goldens.folders().items() if folder.parent.name == "examples"]
)
def test_an_installation_runs_digests(name: str) -> None:
    """A tag can be moved under a running installation; a digest cannot."""
    assert images(name)
    assert [] == [image for image in images(name) if not DIGEST.search(image)]


def test_prod_by_itself_runs_nothing() -> None:
    """Its images are no image references: Knative's webhook refuses them by name (k8s_validation.go, ParseReference)."""
    assert images(goldens.UNFINISHED)
    assert [] == [
        image for image in images(goldens.UNFINISHED) if not image.rpartition("@")[2].startswith("sha256:set-")
    ]
