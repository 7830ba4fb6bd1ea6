"""When the tag of a candidate leads to it: by the Service's status, object by object."""

from typing import Any

import pytest

from functions.serve.rollout import sight

ROLLOUT = "r-1"


def _revision(name: str, *, ready: str, **labels: str) -> dict[str, Any]:
    metadata = {"uid": name, "name": name, "resourceVersion": "1", "labels": labels}
    return {"kind": "Revision", "metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


def _service(tagged: str, *, routes: str = "True", seen: int = 2) -> dict[str, Any]:
    return {
        "metadata": {"uid": "s", "name": "smol", "resourceVersion": "9", "generation": 2},
        "status": {
            "observedGeneration": seen,
            "conditions": [{"type": "RoutesReady", "status": routes}],
            "traffic": [
                {"revisionName": "smol-00001", "percent": 100},
                {"revisionName": tagged, "percent": 0, "tag": "candidate", "latestRevision": True},
            ],
        },
    }


@pytest.mark.parametrize(
    ("service", "routed"),
    [
        pytest.param(_service("smol-00002"), True, id="in the ingress"),
        pytest.param(_service("smol-00001"), False, id="the latest ready one is still the old one"),
        pytest.param(_service("smol-00002", routes="Unknown"), False, id="the ingress is being told"),
        pytest.param(_service("smol-00002", routes="False"), False, id="the ingress refused it"),
        pytest.param(_service("smol-00002", seen=1), False, id="said of an older generation"),
        pytest.param({"metadata": _service("")["metadata"]}, False, id="nothing is said yet"),
        pytest.param(None, False, id="no Service"),
    ],
)
def test_the_tag_leads_to_the_candidate(service: dict[str, Any] | None, routed: bool) -> None:  # noqa: FBT001  # pytest's
    """Before that its prompt would be answered by the revision that serves."""
    revisions = [
        _revision("smol-00001", ready="True"),
        _revision("smol-00002", ready="True", **{"torpor.dev/rollout": ROLLOUT}),
    ]
    seen = sight.look(ROLLOUT, "smol-00001", service, revisions)
    assert (seen.candidate, seen.ready, seen.routed) == ("smol-00002", True, routed)
