"""The traffic block: always all of 100 %, always one entry that follows the latest revision, never a revision that is gone."""

import pytest

from functions.serve import names
from functions.serve.rollout import traffic
from functions.serve.rollout.traffic import Split

PRESENT = {"smol-00001", "smol-00002"}
LATEST = {"latestRevision": True, "percent": 100}


def _stable(percent: int) -> dict[str, object]:
    return {"revisionName": "smol-00001", "latestRevision": False, "percent": percent}


def _candidate(percent: int) -> dict[str, object]:
    return {"latestRevision": True, "percent": percent, "tag": "candidate"}


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        pytest.param(Split(), [LATEST], id="nothing on trial"),
        pytest.param(Split("smol-00001", 0, tagged=True), [_stable(100), _candidate(0)], id="on trial at 0"),
        pytest.param(Split("smol-00001", 25, tagged=True), [_stable(75), _candidate(25)], id="a step"),
        pytest.param(Split("smol-00001", 100, tagged=True), [_stable(0), _candidate(100)], id="last step, kept warm"),
        pytest.param(Split("smol-00001", 100, tagged=True, freed=True), [_candidate(100)], id="room for one: freed"),
        pytest.param(
            Split("smol-00001", 0), [_stable(100), {"latestRevision": True, "percent": 0}], id="after a rollback"
        ),
        pytest.param(Split("smol-00000", 0, tagged=True), [_candidate(100)], id="collected while on trial"),
        pytest.param(Split("smol-00000", 0), [LATEST], id="collected after a rollback"),
    ],
)
def test_the_block_for_a_split(split: Split, expected: list[dict[str, object]]) -> None:
    """By table."""
    assert traffic.block(split, PRESENT) == expected


@pytest.mark.parametrize("percent", range(101))
@pytest.mark.parametrize("pinned", ["", "smol-00001", "smol-00009"])
@pytest.mark.parametrize("freed", [False, True])
def test_every_block_is_whole(percent: int, pinned: str, *, freed: bool) -> None:
    """100 % in all, one entry for the latest revision, and nobody who is not there."""
    block = traffic.block(Split(pinned, percent, tagged=True, freed=freed), PRESENT)
    assert sum(target["percent"] for target in block) == 100
    assert [target["latestRevision"] for target in block].count(True) == 1
    assert {target["revisionName"] for target in block if "revisionName" in target} <= PRESENT


def test_the_candidates_host_fits_into_dns() -> None:
    """`<tag>-<name>` is one label, which has at most 63 characters, for the longest name too."""
    host = traffic.tag_host("m" * names.MAX_LENGTH, "torpor")
    assert host == f"candidate-{'m' * names.MAX_LENGTH}.torpor.svc.cluster.local"
    assert len(host.partition(".")[0]) <= 63
