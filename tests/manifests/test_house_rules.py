"""Rules of this repository for its manifests: how files are cut, what is commented, what stays out of base."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

Object = dict[str, Any]
ROOT = Path(__file__).parents[2]
# A count, a percentage, a port, a quantity, a Go duration or an ISO 8601 period.
NUMBER = re.compile(r"""["']?-?(\d+(\.\d+)?([A-Za-z]{0,2}|ms)|P(T?\d+(\.\d+)?[DHMS])+)["']?""")
SCALAR = re.compile(r"^\s*(?:- )?(?P<key>[^\s#][^#]*?):\s+(?P<value>[^#]+?)\s*(?P<comment>#.*)?$")
# What stands in no namespace.
OF_THE_CLUSTER = {"Namespace", "CustomResourceDefinition"}
# A comment speaks for what follows it directly: one block of a few lines.
NEAR = 4


def uncommented_numbers(text: str) -> Iterator[str]:
    """Lines that set a number with no comment on them or in the few lines above."""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        found = SCALAR.match(line)
        if found and NUMBER.fullmatch(found["value"]) and not found["comment"]:
            above = lines[max(0, index - NEAR) : index]
            if not any(other.lstrip().startswith("#") for other in above):
                yield line.strip()


def test_one_object_per_file(files: Sequence[Path]) -> None:
    """A file is one object, so that a change's history is that object's."""
    for path in files:
        assert 1 == len(list(yaml.safe_load_all(path.read_text(encoding="utf-8")))), path


def test_every_number_has_its_reason(files: Sequence[Path]) -> None:
    """Whoever wants to change a number finds beside it why it is what it is; a definition's are the request's."""
    for path in files:
        if path.name == "modelserve.yaml":
            continue
        assert [] == list(uncommented_numbers(path.read_text(encoding="utf-8"))), path


def test_a_number_without_a_reason_is_found() -> None:
    """The check above can fail."""
    assert ["retry: 5", 'window: "10s"'] == list(uncommented_numbers('retry: 5\nname: x\nwindow: "10s"\n'))


def test_every_object_names_its_namespace(objects: Sequence[Object]) -> None:
    """They are applied without --namespace, which would refuse the ones that stand in Kourier's: none may rely on it."""
    inside = [each for each in objects if each["kind"] not in OF_THE_CLUSTER]
    assert [] == [each["metadata"]["name"] for each in inside if not each["metadata"].get("namespace")]


def test_image_tags_stay_in_overlays() -> None:
    """Base and components name images; which build of them runs is an installation's choice."""
    for folder in ("base", "components"):
        for path in (ROOT / "knative" / folder).rglob("*.yaml"):
            images = re.findall(r"^\s*(?:- )?image:\s*(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert [] == [image for image in images if ":" in image or "@" in image], path


def test_scaling_is_said_on_templates(objects: Sequence[Object]) -> None:
    """Knative refuses or ignores autoscaling annotations anywhere else."""
    for each in objects:
        annotations = each["metadata"].get("annotations") or {}
        assert [] == [key for key in annotations if key.startswith("autoscaling.knative.dev/")], each["metadata"][
            "name"
        ]


def test_every_file_is_used() -> None:
    """A manifest that no kustomization names does nothing; patches of the cluster are applied by hand."""
    for path in (*ROOT.glob("knative/**/*.yaml"), *ROOT.glob("eventing/**/*.yaml")):
        if path.name == "kustomization.yaml" or path.parent.name == "cluster-config":
            continue
        named = _named_by_kustomizations(path)
        assert named, f"{path} is in no kustomization"


def _named_by_kustomizations(path: Path) -> bool:
    for folder in path.parents:
        kustomization = folder / "kustomization.yaml"
        if kustomization.exists():
            content = yaml.safe_load(kustomization.read_text(encoding="utf-8"))
            patches = [patch.get("path") for patch in content.get("patches", ())]
            return str(path.relative_to(folder)) in (*content.get("resources", ()), *patches)
    return False


@pytest.mark.parametrize("name", ["auth", "download", "serve", "status"])
def test_functions_are_reached_through_the_gateway_alone(render: Any, name: str) -> None:
    """A function has no public host name: the visibility label keeps Knative from giving it one."""
    service = next(each for each in render("local") if each["kind"] == "Service" and each["metadata"]["name"] == name)
    assert service["metadata"]["labels"]["networking.knative.dev/visibility"] == "cluster-local"


def test_the_gateway_leads_to_no_event_handler(objects: Sequence[Object]) -> None:
    """Events carry no token: whoever could POST one from outside could forge it."""
    routes = [each for each in objects if each["kind"] == "HTTPRoute"]
    matches = [match for route in routes for rule in route["spec"]["rules"] for match in rule["matches"]]
    # GET /events is the stream of status; no other method of that path is let in.
    events = [match for match in matches if "/events".startswith(match["path"]["value"])]
    assert [] == [match for match in events if match.get("method") != "GET"]
    posts = [match for match in matches if match["path"]["value"] == "/deadletters" and match.get("method") != "GET"]
    assert [] == posts
